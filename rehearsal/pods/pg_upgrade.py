"""What CloudNativePG's Job does to a Cluster's data: makes a data directory of a later version, by the real pg_upgrade.

Follows CloudNativePG 1.27: internal/cmd/manager/instance/upgrade/execute/cmd.go.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rehearsal.pods import cluster_roles
from rehearsal.pods.postgres import PostgresError, PostgresServer
from rehearsal.processes import free_port


def server_of(cluster: Mapping[str, Any], there: PostgresServer | None) -> PostgresServer:
    """The server of a Cluster, in the version that its operator reports; `there` is the previous server, if any."""
    major = cluster_roles.major(cluster)
    if there is None:
        name, user = cluster_roles.database(cluster), cluster_roles.SUPERUSER
        return PostgresServer(name=name, user=user, major=major).__enter__()
    return there if there.major == major else upgraded(there, major).__enter__()


def upgraded(server: PostgresServer, major: int) -> PostgresServer:
    """A server of that version with the data of `server`, which is stopped and removed; not started yet."""
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
    new.port = free_port()  # another process may have taken its first port in these seconds
    return new
