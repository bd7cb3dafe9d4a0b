"""Measures how much space a month's off-site copies take, with compressed and with uncompressed dumps."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from rehearsal import optional_tools
from rehearsal.bench.figures import Figures
from rehearsal.pods.postgres import PostgresServer
from rehearsal.progress import step

_DAYS = 30
# A day's changes to 14 MB of invoices: fifty new ones at the end, and changes to ten random ones.
_DAY = """
INSERT INTO invoices SELECT row, (SELECT string_agg(md5(random()::text), '') FROM generate_series(row * 0, 31))
FROM generate_series((SELECT max(id) FROM invoices) + 1, (SELECT max(id) FROM invoices) + 50) AS row;
UPDATE invoices SET note = md5(random()::text) || substr(note, 33)
WHERE id IN (SELECT id FROM invoices ORDER BY random() LIMIT 10);
"""
_FILL = """
CREATE TABLE invoices (id integer PRIMARY KEY, note text NOT NULL);
INSERT INTO invoices SELECT row, (SELECT string_agg(md5(random()::text), '') FROM generate_series(row * 0, 31))
FROM generate_series(1, 13000) AS row;
"""


def figures() -> list[Figures]:
    """Thirty daily copies of a database of 14 MB that grows by fifty rows a day."""
    table = Figures(
        title="Thirty daily copies in restic",
        columns=("dumps", "one dump, MB", "30 dumps, MB", "repository, MB", "repository, of the dumps"),
    )
    with step("dumping and copying a database of 14 MB on thirty days, twice", usually="2 min"):
        for compression in ("gzip", "none"):
            last, total, repository = measure(compression)
            sizes = (f"{size / 1e6:.1f}" for size in (last, total, repository))
            table.add(compression, *sizes, f"{repository / total:.2f}")
    return [table]


def measure(compression: str) -> tuple[int, int, int]:
    """Bytes of the last dump, of all of them, and of a restic repository that holds all of them."""
    total, last = 0, 0
    with PostgresServer() as server, tempfile.TemporaryDirectory(prefix="copies-") as directory:
        folder = server.folder(server.directory / "dumps")
        repository = Path(directory) / "repository"
        environment = {**os.environ, "RESTIC_PASSWORD": "bench", "RESTIC_REPOSITORY": str(repository)}
        environment["RESTIC_CACHE_DIR"] = str(Path(directory) / "cache")

        def restic(*arguments: str) -> None:
            subprocess.run([optional_tools.restic(), "--quiet", *arguments], cwd=folder, env=environment, check=True)

        restic("init")
        server.sql(_FILL)
        for _ in range(_DAYS):
            server.sql(_DAY)
            dump = folder / "database.dump"
            server.run([server.bin / "pg_dump", "-Fc", f"--compress={compression}", "-f", dump])
            last = dump.stat().st_size
            total += last
            restic("backup", "database.dump")
        size = sum(file.stat().st_size for file in repository.rglob("*") if file.is_file())
        shutil.rmtree(folder)
    return last, total, size
