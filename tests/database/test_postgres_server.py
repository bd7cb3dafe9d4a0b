"""The server that stands for the one in the pod."""

from __future__ import annotations

from pathlib import Path

from rehearsal.pods.postgres import PostgresServer


def test_a_server_s_shared_memory_is_in_its_own_folder_which_is_deleted_however_it_ends() -> None:
    with PostgresServer() as server:
        assert server._process
        mapped = Path(f"/proc/{server._process.pid}/maps").read_text().splitlines()
        posix = "/dev/shm/"  # noqa: S108 - only searched for
        shared = [line.split(maxsplit=5)[5] for line in mapped if "dynshmem" in line or posix in line]
        assert shared, "it has shared memory for parallel queries"
        assert [path for path in shared if not path.startswith(str(server.directory))] == []
