"""What the plugin's container does beside an instance, with the real barman-cloud and the store that the program makes.

The commands' options follow github.com/cloudnative-pg/barman-cloud v0.5.0 (pkg/archiver/command.go,
pkg/backup/backup.go, pkg/command/commandbuilder.go) and the plugin's internal/cnpgi/restore/restore.go. The parameters
of a recovery follow CloudNativePG 1.27 (api/v1/cluster_funcs.go, BuildPostgresOptions).
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rehearsal import optional_tools
from rehearsal.pods.postgres import PostgresError, PostgresServer
from tests.database.s3_server import S3Server

_USED: Final = {"s3", "endpoints.json", "partitions.json", "sdk-default-configuration.json", "_retry.json"}
"""The files in use of boto's descriptions of 400 services, 20 MB."""


def programs(directory: Path) -> Path:
    """Copies barman-cloud to where PostgreSQL's account can read it."""

    def unused(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if name not in _USED] if folder.endswith("botocore/data") else []

    shutil.copytree(optional_tools.barman_cloud(), directory, ignore=unused)
    return directory


def interpreter(directory: Path, account: Mapping[str, Any]) -> Path:
    """A Python that PostgreSQL's account can read: a copy if this one is, for instance, in root's home."""
    with suppress(OSError):
        if not subprocess.run([sys.executable, "-V"], check=False, capture_output=True, **account).returncode:
            return Path(sys.executable)
    library = Path(sysconfig.get_path("stdlib"))
    left_out = shutil.ignore_patterns("site-packages", "test", "idlelib", "tkinter", "ensurepip", "*.a")
    shutil.copytree(library, directory / "lib" / library.name, ignore=left_out)
    for shared in Path(sys.base_prefix, "lib").glob("libpython*.so*"):
        shutil.copy(shared, directory / "lib")
    (directory / "bin").mkdir()
    return Path(shutil.copy(Path(sys.executable).resolve(), directory / "bin" / library.name))


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One archive in a stack's store, in a bucket on this machine."""

    programs: Path
    python: Path
    store: Mapping[str, Any]
    """The ObjectStore's spec, as the program makes it."""
    s3: S3Server
    name: str
    """The archive's name."""
    region: str = "us-east-1"

    @property
    def configuration(self) -> Mapping[str, Any]:
        return {**self.store["configuration"], "endpointURL": f"http://127.0.0.1:{self.s3.port}"}

    @property
    def environment(self) -> dict[str, str]:
        """The environment that the plugin's container gives the commands."""
        given = {one["name"]: one["value"] for one in self.store["instanceSidecarConfiguration"]["env"]}
        return {
            **given,
            "PATH": f"{self.programs / 'bin'}:/usr/bin:/bin",
            "PYTHONPATH": str(self.programs),
            "LD_LIBRARY_PATH": str(self.python.parents[1] / "lib"),
            "AWS_ACCESS_KEY_ID": self.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.s3.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }

    def _way(self) -> list[str]:
        return ["--endpoint-url", self.configuration["endpointURL"], "--cloud-provider", "aws-s3"]

    def _place(self) -> list[str]:
        return [self.configuration["destinationPath"], self.name]

    def _program(self, name: str) -> list[str]:
        # Through the interpreter: pip has written its own interpreter's path into the program's first line.
        return [str(self.python), "-P", str(self.programs / "bin" / f"barman-cloud-{name}")]

    def archive_command(self, directory: Path) -> str:
        """For PostgreSQL; a script, so that no key is among a process's arguments."""
        return f"{self._script(directory / 'archive', 'wal-archive', self._archiving())} %p"

    def upload(self, server: PostgresServer, segment: str) -> subprocess.CompletedProcess[str]:
        """Does what `archive_command` does with a WAL segment."""
        return self.run(server, "wal-archive", *self._archiving(), str(server.data / "pg_wal" / segment), check=False)

    def _archiving(self) -> list[str]:
        form = self.configuration["wal"]
        asked = ["-e", form["encryption"]] if "encryption" in form else []
        return [f"--{form['compression']}", *asked, *self._way(), *self._place()]

    def restore_command(self, directory: Path) -> str:
        """For a server in recovery."""
        return f"{self._script(directory / 'fetch', 'wal-restore', [*self._way(), *self._place()])} %f %p"

    def _script(self, path: Path, program: str, options: list[str]) -> str:
        exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in self.environment.items())
        line = shlex.join([*self._program(program), *options])
        path.write_text(f'#!/bin/sh\n{exports}exec {line} "$@"\n')
        path.chmod(0o755)
        return shlex.quote(str(path))

    def run(
        self, server: PostgresServer, name: str, *options: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs one of the commands beside the server."""
        environment = {**server.environment(local=True), **self.environment}
        done = subprocess.run(
            [*self._program(name), *options],
            env=environment,
            check=False,
            text=True,
            capture_output=True,
            timeout=120,
            **server.account,
        )
        assert not check or not done.returncode, done.stderr
        return done

    def back_up(self, server: PostgresServer, name: str) -> None:
        """Takes a base backup."""
        form = self.configuration["data"]
        asked = ["--encryption", form["encryption"]] if "encryption" in form else []
        options = ["--user", server.user, "--name", name, f"--{form['compression']}", *asked]
        # The operator does not pass --immediate-checkpoint: it waits up to five minutes for a checkpoint that spares
        # the disk.
        self.run(server, "backup", *options, "--immediate-checkpoint", *self._way(), *self._place())

    def is_empty(self, server: PostgresServer) -> bool:
        """The plugin's check before a Cluster's first segment; it refuses an archive that is not empty."""
        return not self.run(server, "check-wal-archive", *self._way(), *self._place(), check=False).returncode

    def backups(self, server: PostgresServer) -> str:
        return self.run(server, "backup-list", "--format", "json", *self._way(), *self._place()).stdout

    def bring(self, server: PostgresServer, backup: str) -> None:
        """Puts a base backup into the server's empty data directory."""
        self.run(server, "restore", *self._way(), *self._place(), backup, str(server.data))


def archiving(archive: Archive, directory: Path) -> dict[str, str]:
    """The server's parameters, as the operator sets them."""
    return {"archive_mode": "on", "archive_command": archive.archive_command(directory), "wal_level": "logical"}


class Recovered(PostgresServer):
    """A new server recovered from the archive, as of a point in time, or of the latest if none is given."""

    def __init__(self, archive: Archive, backup: str, *, at: str | None = None) -> None:
        self.archive, self.backup, self.at = archive, backup, at
        super().__init__()

    def _initialise(self) -> None:
        self.data.mkdir(mode=0o700)
        self.give(self.data)
        self.archive.bring(self, self.backup)
        options = [f"restore_command = '{self.archive.restore_command(self.directory)}'"]
        options.append("recovery_target_action = promote")
        if self.at is not None:
            options += [f"recovery_target_time = '{self.at}'", "recovery_target_inclusive = true"]
        with (self.data / "postgresql.auto.conf").open("a") as file:
            file.write("\n".join(["", *options, ""]))
        (self.data / "recovery.signal").touch()
        self.give(self.data / "recovery.signal")

    def promoted(self) -> None:
        """Returns once the server has reached that time and accepts writes; raises `PostgresError` with its log."""
        deadline = time.monotonic() + 60
        try:
            while self.sql("SELECT pg_is_in_recovery()") == "t":
                assert time.monotonic() < deadline, self.log.read_text()[-3000:]
                time.sleep(0.1)
        except subprocess.CalledProcessError:  # it answered, and ended before it reached that time
            raise PostgresError(self.log.read_text()[-3000:]) from None
