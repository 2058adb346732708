"""Live windows, leases and cooldowns, in Valkey or Redis."""
