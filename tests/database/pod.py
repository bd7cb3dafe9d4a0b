"""Runs the scripts on this machine as a pod does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import pytest

from rehearsal.pods.postgres import PostgresServer
from rehearsal.pods.shell import link_applets

SCRIPTS = Path(__file__).parents[2] / "components" / "scripts"


class Pod:
    """Runs the scripts as a pod does: their shell, their account, a backup volume, the database over TCP."""

    def __init__(self, server: PostgresServer, directory: Path, *, clients: Path | None = None) -> None:
        """`clients`: the folder of PostgreSQL's programs in the pod's image, if their version is not the server's."""
        self.server, self._clients = server, clients or server.bin
        self.directory = directory
        self.backups = self._folder("backups")
        self.upload = self._folder("upload")
        self.drill = self._folder("drill")
        self._programs = self._folder("bin")
        self.scripts = Path(shutil.copytree(SCRIPTS, directory / "scripts"))
        link_applets(self._programs)

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of the pod's containers."""
        environment = self.server.environment(
            BACKUPS=str(self.backups), UPLOAD=str(self.upload), TZ="Etc/UTC", KEEP_DAILY="100", PATIENCE="0"
        )
        environment["PATH"] = os.pathsep.join([str(self._programs), str(self._clients), environment["PATH"]])
        return {**environment, **more}

    def start(self, script: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Starts a script in its own process group, with `more` in its environment and its log in one pipe."""
        return subprocess.Popen(
            [*self._limits(more), "sh", str(self.scripts / script), *arguments],
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **self.server.account,
        )

    def run(self, script: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs a script to its end, for at most two minutes."""
        process = self.start(script, *arguments, **more)
        try:
            log, _ = process.communicate(timeout=120)
        finally:
            kill_group(process)
        return subprocess.CompletedProcess(process.args, process.returncode, log)

    def names(self) -> list[str]:
        """Names on the backup volume that look like backups."""
        return sorted(path.name for path in self.backups.iterdir() if not path.name.startswith("."))

    def set_clock(self, now: datetime) -> None:
        """Sets what `date` prints from now on."""
        # Debian's BusyBox shell, unlike alpine's, runs its own `date` before it searches PATH.
        (self._programs / "sh").unlink(missing_ok=True)
        date = self._programs / "date"
        date.unlink(missing_ok=True)
        date.write_text(f'#!/bin/sh\nexec {shutil.which("date")} -d @{now.timestamp():.0f} "$@"\n')
        date.chmod(0o755)

    def folder(self, path: Path) -> Path:
        """Makes an empty folder that belongs to the account that the scripts run as."""
        return self.server.folder(path)

    def give(self, path: Path) -> None:
        """Gives a file to that account."""
        self.server.give(path)

    @contextmanager
    def limited(self, kind: str, size: int) -> Iterator[dict[str, str]]:
        """A backup volume with room for `size` bytes; yields the variables with which to run the script."""
        if kind == "file size limit":
            yield {"LIMIT": str(size)}
            return
        with small_disk(self.backups, size):
            self.give(self.backups)
            yield {}

    def _folder(self, name: str) -> Path:
        return self.folder(self.directory / name)

    @staticmethod
    def _limits(more: dict[str, str]) -> list[str]:
        return ["prlimit", f"--fsize={more.pop('LIMIT')}", "--"] if "LIMIT" in more else []


@contextmanager
def small_disk(path: Path, size: int) -> Iterator[None]:
    """A tmpfs of `size` bytes at `path`; skips the test if the machine does not let us mount one."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if os.getuid() != 0 or subprocess.run(mount, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)  # noqa: S607 - by PATH, as mount is


def kill_group(process: subprocess.Popen[str]) -> None:
    """Sends SIGKILL to a script and all that it started, and waits until all are gone, as when a pod's container dies.

    A process that is still exiting would hold the script's locks, which a pod never does once another one follows it.
    """
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=60)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.01)
        raise TimeoutError(f"something that {process.args!r} started outlives SIGKILL")


def kill_named(process: subprocess.Popen[str], name: str) -> None:
    """Sends SIGKILL to the programs with this name among a script's children."""
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            pid, rest = status.read_text().split(" (", 1)
            program, fields = rest.rsplit(") ", 1)
            if program == name and int(fields.split()[3]) == process.pid:  # the session is the script's
                os.kill(int(pid), signal.SIGKILL)
