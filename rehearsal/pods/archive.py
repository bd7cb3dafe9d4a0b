"""Stands in for the archives of write-ahead logs: a database as it was at the moments at which it was remembered.

The plugin barman-cloud archives each change; here a caller says when. What a recovery to a moment brings is what was
remembered last before it, in a server of its own. That PostgreSQL recovers to a moment from what barman-cloud archives,
tests/database/test_recovery.py shows with the real ones.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from rehearsal.pods import cluster_roles
from rehearsal.pods.postgres import PostgresServer


class Archive:
    """What was remembered, by namespace, and the servers that were recovered from it, by UID of their Cluster."""

    def __init__(self) -> None:
        self._remembered: dict[str, list[tuple[datetime, str]]] = {}
        self._recovered: dict[str, PostgresServer] = {}

    @property
    def servers(self) -> Iterable[PostgresServer]:
        """All that run."""
        return self._recovered.values()

    def remember(self, namespace: str, server: PostgresServer) -> None:
        """The live database, as it is now."""
        dump = server.run([server.bin / "pg_dump", "--format=plain"], stdout=subprocess.PIPE).stdout
        self._remembered.setdefault(namespace, []).append((datetime.now(UTC), dump))

    def recovered(
        self, namespace: str, cluster: Mapping[str, Any], secret: Callable[[str], Mapping[str, str]]
    ) -> PostgresServer:
        """The server of a Cluster that was recovered; started on first use."""
        uid = cluster["metadata"]["uid"]
        if uid not in self._recovered:
            target = datetime.fromisoformat(cluster["spec"]["bootstrap"]["recovery"]["recoveryTarget"]["targetTime"])
            before = [dump for taken, dump in self._remembered.get(namespace, []) if taken <= target]
            server = PostgresServer(name=cluster_roles.database(cluster), user=cluster_roles.SUPERUSER).__enter__()
            self._recovered[uid] = server
            cluster_roles.reconcile(server, cluster, secret)
            server.run([server.bin / "psql", "-Xq", "-v", "ON_ERROR_STOP=1"], input=before[-1], stdout=subprocess.PIPE)
        return self._recovered[uid]
