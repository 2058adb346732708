"""HTTP around the use-cases: the lease API, status, health."""
