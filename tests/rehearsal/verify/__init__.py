"""A package, because `live` ends with its package: in a plain folder it would last until the worker's last test."""
