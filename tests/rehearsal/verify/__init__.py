"""A package, for `live` ends with it: in a folder that is none it would stay until the worker's last test."""
