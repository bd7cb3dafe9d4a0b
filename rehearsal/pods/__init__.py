"""Pods as processes on this machine: the scripts of backup, drill and restore beside a real PostgreSQL."""
