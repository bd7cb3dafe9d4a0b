"""What CloudNativePG's Job does to the data of a Cluster: a data directory of a later version, by the real pg_upgrade.

Follows CloudNativePG 1.27: internal/cmd/manager/instance/upgrade/execute/cmd.go.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from rehearsal.pods.postgres import PostgresError, PostgresServer


def upgraded(server: PostgresServer, major: int) -> PostgresServer:
    """A server of that version with the data of this one, which is stopped and gone; not started yet."""
    new = PostgresServer(
        name=server.name, user=server.user, password=server.password, settings=server.settings, major=major
    )
    server.stop()
    try:
        control = new.run([server.bin / "pg_controldata", server.data], stdout=subprocess.PIPE).stdout
        checksums = re.search(r"^Data page checksum version: +1$", control, re.MULTILINE)
        options = ["--data-checksums" if checksums else "--no-data-checksums", "--auth-local=trust", "--no-sync"]
        new.run(
            [new.bin / "initdb", "-D", new.data, f"--username={server.user}", "--auth-host=scram-sha-256", *options],
            capture_output=True,
        )
        old: list[str | Path] = ["--old-bindir", server.bin, "--old-datadir", server.data]
        command = [new.bin / "pg_upgrade", "--link", "--username", server.user, *old, "--new-datadir", new.data]
        new.run(command, capture_output=True, cwd=new.data)
    except subprocess.CalledProcessError as error:
        raise PostgresError(f"the upgrade failed:\n{error.stdout}{error.stderr}") from error
    server.__exit__()
    return new
