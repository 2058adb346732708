"""The command line: parse, call one function of the service, print."""
