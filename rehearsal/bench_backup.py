"""What backup and restore cost beside bare pg_dump and pg_restore of the same database."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rehearsal.postgres import PostgresServer

SCRIPTS = Path(__file__).parents[1] / "components" / "scripts"

# Text that compresses about as well as invoices do (hexadecimal digests, threefold) in rows of 1 KiB.
_FILL = """
CREATE TABLE invoices (id integer PRIMARY KEY, note text NOT NULL);
INSERT INTO invoices
SELECT row, (SELECT string_agg(md5(random()::text), '') FROM generate_series(row * 0, 31))
FROM generate_series(1, {rows}) AS row;
CREATE INDEX ON invoices (left(note, 16));
ANALYZE;
CHECKPOINT;
"""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Seconds of a script beside seconds of the bare tool, the fastest of the rounds each."""

    what: str
    seconds: float
    bare_seconds: float

    @property
    def ratio(self) -> float:
        """How many times as long as the bare tool; issue 6 allows 1.15."""
        return self.seconds / self.bare_seconds


def measure(megabytes: int = 128, *, rounds: int = 3) -> list[Measurement]:
    """Backup and restore of a generated database of about `megabytes`; takes about 20 s for 128, two minutes for 1024.

    The tools take turns, so that a machine that slows down slows both. The server writes through to the disk, as the
    real one does.
    """
    with PostgresServer(settings={"fsync": "on", "max_wal_size": "4GB"}) as server:
        server.sql(_FILL.format(rows=megabytes * 1024))
        place = server.directory / "bench"
        for folder in (place, place / "backups"):
            folder.mkdir()
            if server.account:
                os.chown(folder, server.account["user"], server.account["group"])
        scripts = shutil.copytree(SCRIPTS, place / "scripts")
        dump = place / "bare.dump"

        def script(name: str, source: str = "") -> None:
            environment = server.environment(BACKUPS=str(place / "backups"), RESTORE_FROM=source)
            server.run(["sh", f"{scripts}/{name}"], env=environment, stdout=subprocess.DEVNULL)

        def bare_restore() -> None:
            server.run([server.bin / "createdb", "bare"])
            restore = [str(server.bin / "pg_restore"), "--dbname=bare", "--single-transaction", "--no-owner", str(dump)]
            server.run(restore, env=server.environment())
            server.run([server.bin / "dropdb", "bare"])

        backup = _alternate(
            "backup",
            lambda: script("backup.sh"),
            lambda: server.run([server.bin / "pg_dump", "-Fc", "-f", dump], env=server.environment()),
            rounds,
        )
        newest = max(path.name for path in (place / "backups").glob("invoicetron-*"))

        # An empty database has nothing to save first, so that restore is compared with restore.
        def restore() -> None:
            server.sql("DROP DATABASE invoicetron WITH (FORCE)", database="postgres")
            server.sql("CREATE DATABASE invoicetron", database="postgres")
            script("restore.sh", newest)

        return [backup, _alternate("restore", restore, bare_restore, rounds)]


def _alternate(what: str, tool: Callable[[], object], bare: Callable[[], object], rounds: int) -> Measurement:
    times: dict[Callable[[], object], list[float]] = {tool: [], bare: []}
    for _ in range(rounds):
        for run, seconds in times.items():
            started = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - started)
    return Measurement(what=what, seconds=min(times[tool]), bare_seconds=min(times[bare]))
