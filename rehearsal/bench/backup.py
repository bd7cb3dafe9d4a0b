"""What backup and restore cost beside bare pg_dump and pg_restore of the same database."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from rehearsal.pods.postgres import PostgresServer
from rehearsal.progress import CONSOLE, step

SCRIPTS = Path(__file__).parents[2] / "components" / "scripts"

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


def print_tables() -> None:
    """Backup and restore of 1 GB."""
    table = Table("what", "seconds", "bare tool, s", "ratio", title="Backup and restore beside pg_dump and pg_restore")
    with step("backing up and restoring a generated database of 1 GB", usually="5 min"):
        measurements = measure()
    for one in measurements:
        table.add_row(one.what, f"{one.seconds:.1f}", f"{one.bare_seconds:.1f}", f"{one.ratio:.2f}")
    CONSOLE.print(table)


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Seconds of a script beside seconds of the bare tools, the fastest of the rounds each."""

    what: str
    seconds: float
    bare_seconds: float

    @property
    def ratio(self) -> float:
        """How many times as long as the bare tools."""
        return self.seconds / self.bare_seconds


def measure(megabytes: int = 1024, *, rounds: int = 2) -> list[Measurement]:
    """Backup and restore of a generated database of about `megabytes`.

    Compared are the same steps: pg_dump, which syncs its file, with backup.sh; and what replaces an empty database by
    hand (create a new one, pg_restore in one transaction, drop the empty one, rename) with restore.sh, which then has
    nothing to save first. PostgreSQL writes everything to the disk before it drops a database, so that both end with
    the new data there. What the scripts do besides (checksums, counts, statistics) is what the ratio shows.

    The tools take turns, so that a machine that slows down slows both. The server writes through to the disk, as the
    real one does, and has the settings of the image.
    """
    with PostgresServer(settings={"fsync": "on"}) as server:
        server.sql(_FILL.format(rows=megabytes * 1024))
        place = server.directory / "bench"
        backups, upload = place / "backups", place / "upload"
        for folder in (place, backups, upload):
            folder.mkdir()
            if server.account:
                os.chown(folder, server.account["user"], server.account["group"])
        scripts = shutil.copytree(SCRIPTS, place / "scripts")
        dump = place / "bare.dump"

        def script(name: str, source: str = "") -> None:
            environment = server.environment(BACKUPS=str(backups), UPLOAD=str(upload), RESTORE_FROM=source)
            server.run(["sh", f"{scripts}/{name}"], env=environment, stdout=subprocess.DEVNULL)

        def bare(program: str, *arguments: str | Path) -> None:
            server.run([server.bin / program, *arguments], env=server.environment())

        def replace() -> None:
            bare("createdb", "new")
            bare("pg_restore", "--dbname=new", "--single-transaction", "--no-owner", dump)
            bare("dropdb", "invoicetron")
            server.sql("ALTER DATABASE new RENAME TO invoicetron", database="postgres")

        def empty() -> None:
            server.sql("DROP DATABASE invoicetron WITH (FORCE)", database="postgres")
            server.sql("CREATE DATABASE invoicetron", database="postgres")

        backup = _alternate("backup", lambda: script("backup.sh"), lambda: bare("pg_dump", "-Fc", "-f", dump), rounds)
        newest = max(path.name for path in backups.glob("invoicetron-*"))
        restore = _alternate("restore", lambda: script("restore.sh", newest), replace, rounds, before=empty)
        return [backup, restore]


def _alternate(
    what: str,
    tool: Callable[[], object],
    bare: Callable[[], object],
    rounds: int,
    *,
    before: Callable[[], object] = lambda: None,
) -> Measurement:
    times: dict[Callable[[], object], list[float]] = {tool: [], bare: []}
    for _ in range(rounds):
        for run, seconds in times.items():
            before()
            started = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - started)
    return Measurement(what=what, seconds=min(times[tool]), bare_seconds=min(times[bare]))
