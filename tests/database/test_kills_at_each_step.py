"""Backups and restores on the volume, killed before each command of their scripts: whatever remains restores.

The usual run kills at a handful of these moments; `KILLS=all` at each of them. To the same scripts, an export
(`backup.nfs`) is a folder: what holds here holds there, if its rename is atomic and its locks are shared.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import content, databases, fill
from tests.database.pod import SCRIPTS, Pod
from tests.database.test_backup import assert_restores
from tests.kills import EVERY

USUALLY: Final = 12
"""Moments of each script in the usual run."""
KILL: Final = "kill -KILL 0\n"


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Before a line of a script."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line + 1}"


def _moments(script: Path) -> Iterator[Moment]:
    """Where the shell reads a new command: not in the middle of a command or of a text."""
    lines = script.read_text().splitlines(keepends=True)
    end, before = None, ""
    for number, line in enumerate(lines):
        text = line.strip()
        if end is not None:
            end = None if text == end else end
        elif text and not text.startswith("#"):
            if not before.endswith(("\\", "|", "&&", "||")) and _is_command([*lines[:number], KILL, *lines[number:]]):
                yield Moment(file=script.name, line=number)
            end = text.rpartition("<<")[2].split()[0] if "<<" in text else None
        before = text


def _is_command(lines: list[str]) -> bool:
    done = subprocess.run(["sh", "-n"], input="".join(lines), text=True, capture_output=True, check=False)  # noqa: S607 - by PATH, as pods do
    return done.returncode == 0


def _with(script: Path, added: Mapping[int, str]) -> str:
    lines = script.read_text().splitlines(keepends=True)
    return "".join(f"{added.get(number, '')}{line}" for number, line in enumerate(lines))


def met(pod: Pod, script: str, **environment: str) -> list[Moment]:
    """The moments that a run reaches, in order: all of them, or as many as the usual run has time for."""
    note = pod.directory / "met"
    for file in pod.scripts.glob("*.sh"):
        notes = {one.line: f"echo {one.file} {one.line} >>{note}\n" for one in _moments(SCRIPTS / file.name)}
        file.write_text(_with(file, notes))
    try:
        note.touch()
        pod.give(note)
        done = pod.run(script, **environment)
    finally:
        for file in pod.scripts.glob("*.sh"):
            file.write_text((SCRIPTS / file.name).read_text())
    assert done.returncode == 0, done.stdout
    lines = dict.fromkeys(note.read_text().splitlines())
    note.unlink()
    found = [Moment(file=file, line=int(line)) for file, line in (each.split() for each in lines)]
    return found if EVERY else found[:: len(found) // USUALLY]


def killed(pod: Pod, moment: Moment, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A run of a script that ends at that moment."""
    file = pod.scripts / moment.file
    file.write_text(_with(SCRIPTS / moment.file, {moment.line: KILL}))
    try:
        return pod.run(script, **environment)
    finally:
        file.write_text((SCRIPTS / moment.file).read_text())


def test_a_backup_that_is_killed_before_any_of_its_commands_leaves_none_or_a_whole_one(
    pod: Pod, server: PostgresServer
) -> None:
    fill(server)
    proved: set[str] = set()
    for moment in met(pod, "backup.sh"):
        done = killed(pod, moment, "backup.sh")
        assert done.returncode == -9, f"{moment}: {done.stdout}"
        for name in set(pod.names()) - proved:
            assert_restores(pod, server, name)
            proved.add(name)
    done = pod.run("backup.sh")
    assert done.returncode == 0, done.stdout
    assert_restores(pod, server, pod.names()[-1])
    assert not list(pod.backups.glob(".unfinished*"))


def test_a_restore_that_is_killed_before_any_of_its_commands_leaves_the_old_data_or_the_new(
    pod: Pod, server: PostgresServer
) -> None:
    fill(server)
    new = content(server)
    assert pod.run("backup.sh").returncode == 0
    (name,) = pod.names()
    server.sql("DELETE FROM invoice_items; CREATE TABLE payments (id integer)")
    old = content(server)
    assert pod.run("restore.sh", RESTORE_FROM=name, KEEP_BEFORE_RESTORE="1000").returncode == 0
    safety = next(found for found in pod.names() if found.startswith("before-restore"))
    current = new
    for moment in met(pod, "restore.sh", RESTORE_FROM=name, KEEP_BEFORE_RESTORE="1000"):
        # Back and forth, so that every attempt replaces something.
        source, goal = (name, new) if current == old else (safety, old)
        done = killed(pod, moment, "restore.sh", RESTORE_FROM=source, KEEP_BEFORE_RESTORE="1000")
        found = content(server)
        assert found in {current, goal}, f"{moment} left something between old and new: {done.stdout}"
        assert done.returncode != 0 or found == goal, f"{moment}: {done.stdout}"
        current = found
    source, goal = (name, new) if current == old else (safety, old)
    done = pod.run("restore.sh", RESTORE_FROM=source)
    assert done.returncode == 0, done.stdout
    assert content(server) == goal
    assert databases(server) == ["invoicetron", "postgres"], "a killed restore's remains are still there"
