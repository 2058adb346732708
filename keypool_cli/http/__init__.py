"""HTTP for the daemon and the simulator: one server, and small helpers to read and answer."""
