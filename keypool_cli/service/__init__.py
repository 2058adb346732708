"""The use-cases, each written once: the command line and the daemon both call these."""
