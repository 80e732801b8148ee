"""The HTTP face of the server: parses, calls a service, renders. Decides nothing."""
