"""Runs a program as a user without a name, as the pods' user is in PostgreSQL's images that are based on Debian."""

from __future__ import annotations

import subprocess

import pytest

from rehearsal.pods.postgres import PostgresServer

_USER = "7070"  # in no /etc/passwd


def as_nameless(server: PostgresServer) -> list[str]:
    """Words to put before a command. Its files belong to the account of the tests; skips the test where users may not
    have such a view of themselves."""
    words = ["unshare", "--user", f"--map-user={_USER}", f"--map-group={_USER}", "--"]
    try:
        done = subprocess.run([*words, "id", "-un"], check=False, capture_output=True, text=True, **server.account)
    except FileNotFoundError:
        pytest.skip("needs unshare, of util-linux")
    if _USER not in done.stderr:  # id knows no name for it
        pytest.skip("needs the right to make a user namespace")
    return words
