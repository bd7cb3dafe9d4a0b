"""Stands in for the archives of write-ahead logs: a database as it was at the moments when it was remembered.

The plugin barman-cloud archives each change; here, a caller says when. A recovery to a moment brings back what was last
remembered before it, in a separate server. tests/database/test_recovery.py shows with the real PostgreSQL and
barman-cloud that PostgreSQL recovers to a moment from that archive.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rehearsal.pods import cluster_roles
from rehearsal.pods.postgres import PostgresServer


class Archive:
    """What was remembered, by namespace, and the servers recovered from it, by the UID of their Cluster."""

    def __init__(self) -> None:
        self._remembered: dict[str, list[tuple[datetime, str]]] = {}
        self._recovered: dict[str, PostgresServer] = {}

    @property
    def servers(self) -> Iterable[PostgresServer]:
        """All running servers."""
        return self._recovered.values()

    def remember(self, namespace: str, server: PostgresServer) -> None:
        """Remembers the live database as it is now."""
        dump = server.run([server.bin / "pg_dump", "--format=plain"], stdout=subprocess.PIPE).stdout
        self._remembered.setdefault(namespace, []).append((datetime.now(UTC), dump))

    def recovered(
        self, namespace: str, cluster: Mapping[str, Any], secret: Callable[[str], Mapping[str, str]]
    ) -> PostgresServer:
        """The server of a recovered Cluster; started on first use."""
        uid = cluster["metadata"]["uid"]
        if uid not in self._recovered:
            target = datetime.fromisoformat(cluster["spec"]["bootstrap"]["recovery"]["recoveryTarget"]["targetTime"])
            before = [dump for taken, dump in self._remembered.get(namespace, []) if taken <= target]
            server = PostgresServer(name=cluster_roles.database(cluster), user=cluster_roles.SUPERUSER).__enter__()
            self._recovered[uid] = server
            cluster_roles.reconcile(server, cluster, secret)
            server.run([server.bin / "psql", "-Xq", "-v", "ON_ERROR_STOP=1"], input=before[-1], stdout=subprocess.PIPE)
        return self._recovered[uid]
