"""Emulators of the HTTP endpoints that the program uses, on loopback, with faults."""
