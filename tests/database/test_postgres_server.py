"""The server that stands for the one in the pod."""

from __future__ import annotations

from pathlib import Path

from rehearsal.pods.postgres import PostgresServer


def test_a_killed_server_leaves_nothing_in_memory() -> None:
    with PostgresServer() as server:
        assert server._process
        mapped = Path(f"/proc/{server._process.pid}/maps").read_text().splitlines()
        shared = [line.split(maxsplit=5)[5] for line in mapped if "dynshmem" in line or "/dev/shm/" in line]  # noqa: S108
        assert shared, "it has shared memory for parallel queries"
        assert [path for path in shared if not path.startswith(str(server.directory))] == []
