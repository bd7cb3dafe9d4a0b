"""Measures backup, upload and restore beside bare pg_dump, restic and pg_restore on the same database."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rehearsal import optional_tools
from rehearsal.bench.figures import Figures
from rehearsal.pods.postgres import PostgresServer
from rehearsal.pods.shell import link_applets
from rehearsal.progress import step

SCRIPTS = Path(__file__).parents[2] / "components" / "scripts"

# Text that compresses about as well as invoices do (hexadecimal digests, threefold) in rows of 1 KiB.
FILL = """
CREATE TABLE invoices (id integer PRIMARY KEY, note text NOT NULL);
INSERT INTO invoices
SELECT row, (SELECT string_agg(md5(random()::text), '') FROM generate_series(row * 0, 31))
FROM generate_series(1, {rows}) AS row;
CREATE INDEX ON invoices (left(note, 16));
ANALYZE;
CHECKPOINT;
"""


SIZES: Final = ((14, 5), (1024, 2))
"""Megabytes of a database, and how many times each step is measured."""


def figures(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Figures]:
    """Backup, upload and restore from each target, of a small database and of 1 GB."""
    columns = ("MB", "what", "seconds", "bare tools, s", "ratio")
    table = Figures(title="Backups beside the bare tools", columns=columns)
    for megabytes, rounds in sizes:
        with step(f"backing up, uploading and restoring a generated database of {megabytes} MB", usually="1 to 9 min"):
            measurements = measure(megabytes, rounds=rounds)
        for one in measurements:
            seconds = f"{one.seconds:.1f}", f"{one.bare_seconds:.1f}", f"{one.ratio:.2f}"
            table.add(f"{megabytes}", one.what, *seconds)
    return [table]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """Seconds of a script and of the bare tools, each the fastest of its rounds."""

    what: str
    seconds: float
    bare_seconds: float

    @property
    def ratio(self) -> float:
        """The script's time divided by that of the bare tools."""
        return self.seconds / self.bare_seconds


def measure(megabytes: int, *, rounds: int) -> list[Measurement]:
    """Backup, upload and restore of a generated database of about `megabytes`.

    This compares the same steps: backup.sh with pg_dump, which syncs its file; upload.sh with `restic backup`, the
    first one of a day also with `restic forget`; and restore.sh, which then has nothing to save first, with the manual
    replacement of an empty database (create a new one, pg_restore in one transaction, drop the empty one, rename).
    Off-site, fetch.sh and `restic restore` come first.
    PostgreSQL writes everything to the disk before it drops a database, so both end with the new data on disk. The
    ratio shows what the scripts do besides (checksums, counts, statistics, lists of copies).

    The tools take turns, so that a machine that slows down slows both. The server writes through to the disk, like the
    real one, and has the image's settings. restic's repository is a folder on this machine, for both. The scripts run
    in BusyBox, as in the image, if this machine has it: since 1.36 its sha256sum has the processor compute, and takes a
    third of the time of coreutils 9.1's.
    """
    with PostgresServer(settings={"fsync": "on"}) as server:
        server.sql(FILL.format(rows=megabytes * 1024))
        bench = Bench(server)
        backup = _alternate("backup", lambda: bench.script("backup.sh"), bench.dump, rounds)
        restore = _alternate(
            "restore from the volume",
            lambda: bench.script("restore.sh", RESTORE_FROM="latest"),
            bench.replace,
            rounds,
            before=bench.empty,
        )
        # The way a stack with off-site copies takes backups.
        bench.clear()
        bench.script("backup.sh", DUMP_COMPRESSION="none")
        first_upload = _alternate(
            "upload, the first of a day",
            lambda: bench.script("upload.sh"),
            bench.copy_and_forget,
            rounds,
            before=bench.begin_day,
        )
        upload = _alternate(
            "upload", lambda: bench.script("upload.sh"), bench.copy, rounds, before=bench.make_repository
        )

        def fetch_and_restore() -> None:
            bench.script("fetch.sh", FETCH="latest")
            bench.script("restore.sh", RESTORE_FROM="latest")

        def before() -> None:
            bench.empty()
            bench.clear()

        offsite = _alternate("restore from off-site", fetch_and_restore, bench.bring_back, rounds, before=before)
        return [backup, restore, first_upload, upload, offsite]


class Bench:
    """The folders of one server's account, the scripts, and the bare tools."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        place = server.directory / "bench"
        self._backups, self._upload, self._repository = place / "backups", place / "upload", place / "repository"
        self._programs, self._scratch, self._fetched = place / "bin", place / "tmp", place / "fetched"
        self.bare = place / "bare.dump"
        for folder in (place, self._backups, self._upload, self._programs, self._scratch):
            server.folder(folder)
        self.scripts = shutil.copytree(SCRIPTS, place / "scripts")
        shutil.copy(optional_tools.restic(), self._programs / "restic")
        link_applets(self._programs)

    def script(self, name: str, **more: str) -> None:
        """Runs a script as the pods do."""
        self._server.run(["sh", f"{self.scripts}/{name}"], env=self._environment(**more), stdout=subprocess.DEVNULL)

    def dump(self) -> None:
        """What backup.sh does, with the bare tools."""
        self._run("pg_dump", "-Fc", "-f", self.bare)

    def replace(self) -> None:
        """What restore.sh does, with the bare tools."""
        self._restore(self.bare)

    def copy(self) -> None:
        """What upload.sh does, with the bare tools."""
        (backup,) = self._backups.glob("invoicetron-*")
        self._run(
            "restic",
            "--quiet",
            "backup",
            "--host",
            "bench",
            "--tag",
            f"name={backup.name}",
            "database.dump",
            "manifest.json",
            cwd=backup,
        )

    def copy_and_forget(self) -> None:
        """What the first upload.sh of a day does, with the bare tools."""
        self.copy()
        self._run("restic", "--quiet", "forget", "--group-by", "host", "--keep-daily", "7")

    def bring_back(self) -> None:
        """What fetch.sh and restore.sh do, with the bare tools."""
        shutil.rmtree(self._fetched, ignore_errors=True)
        self._run("restic", "--quiet", "restore", "latest", "--target", self._fetched)
        self._restore(self._fetched / "database.dump")

    def make_repository(self) -> None:
        """Replaces the repository with an empty one."""
        shutil.rmtree(self._repository, ignore_errors=True)
        shutil.rmtree(self._scratch / "cache", ignore_errors=True)
        self._run("restic", "--quiet", "init")

    def begin_day(self) -> None:
        """Replaces the repository with one from which nothing has been forgotten today."""
        self.make_repository()
        (self._backups / ".offsite-forgotten").unlink(missing_ok=True)

    def empty(self) -> None:
        """Replaces the live database with an empty one."""
        self._server.sql("DROP DATABASE invoicetron WITH (FORCE)", database="postgres")
        self._server.sql("CREATE DATABASE invoicetron", database="postgres")

    def clear(self) -> None:
        """Empties the volume of backups."""
        shutil.rmtree(self._backups)
        self._server.folder(self._backups)

    def _restore(self, dump: Path) -> None:
        self._run("createdb", "new")
        self._run("pg_restore", "--dbname=new", "--single-transaction", "--no-owner", dump)
        self._run("dropdb", "invoicetron")
        self._server.sql("ALTER DATABASE new RENAME TO invoicetron", database="postgres")

    def _run(self, program: str, *arguments: str | Path, cwd: Path | None = None) -> None:
        self._server.run(["env", program, *arguments], env=self._environment(), cwd=cwd, stdout=subprocess.DEVNULL)

    def _environment(self, **more: str) -> dict[str, str]:
        found = self._server.environment(
            BACKUPS=str(self._backups),
            UPLOAD=str(self._upload),
            TMPDIR=str(self._scratch),
            STACK="bench",
            RESTIC_REPOSITORY=str(self._repository),
            NEW_REPOSITORY="true",  # each measurement begins with an empty one
            RESTIC_PASSWORD="bench",  # noqa: S106 - for a repository that lives for a minute
            RESTIC_CACHE_DIR=str(self._scratch / "cache"),
        )
        return {**found, **more, "PATH": os.pathsep.join([str(self._programs), found["PATH"]])}


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
