"""The dev stack with its app deployed and its own database, for tests of `ops backup` and `ops restore`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from rehearsal.lifecycle import Lifecycle
from rehearsal.pods.postgres import PostgresServer
from rehearsal.rehearsal import REPOSITORY, Rehearsal
from tests.attentive import attentive
from tests.database.invoices import content, fill

CLAIM = "invoicetron-backups"


@dataclass(frozen=True, kw_only=True)
class BackedUp:
    """One stack on the rehearsal's control plane."""

    rehearsal: Rehearsal
    stack: str = "dev"

    @property
    def namespace(self) -> str:
        """The stack's namespace."""
        return f"invoicetron-{self.stack}"

    @property
    def server(self) -> PostgresServer:
        """The stack's database server."""
        return self.rehearsal.control_plane.pods.database(self.namespace)

    def begin(self, settings: Mapping[str, str] | None = None) -> None:
        """Brings up the stack and deploys its app; adds `settings` to the stack file."""
        self.prepare(settings)
        lifecycle = Lifecycle(self.rehearsal, self.stack)
        lifecycle.deploy(lifecycle.image)

    def prepare(self, settings: Mapping[str, str] | None = None) -> None:
        """Brings up the stack, whose app has no image yet."""
        self.rehearsal.program.init(self.stack)
        for path, value in (settings or {}).items():
            self.rehearsal.configure(self.stack, path, value)
        self.rehearsal.program.up(self.stack, "--skip-preview")

    def empty(self) -> None:
        """Replaces the database with a new one, as PostgreSQL creates it."""
        self.server.sql("DROP DATABASE IF EXISTS invoicetron WITH (FORCE)", database="postgres")
        self.server.sql("CREATE DATABASE invoicetron OWNER invoicetron", database="postgres")

    def fill(self, *, count: int = 500) -> str:
        """Fills a new database with tables; returns the digest of its content."""
        self.empty()
        fill(self.server, count=count)
        return self.content()

    def load(self, dump: Path) -> None:
        """Loads a dump into a new database, with PostgreSQL's own `pg_restore`."""
        self.empty()
        self.server.run([self.server.bin / "pg_restore", "--dbname=invoicetron", dump])

    def content(self) -> str:
        """Returns a digest of everything in the database."""
        return content(self.server)

    def backups(self) -> list[str]:
        """Names on the backup volume."""
        folder = self.rehearsal.control_plane.pods.volume(self.namespace, CLAIM)
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))

    def dump(self, backup: str) -> Path:
        """The dump of a backup, as a user has it who copied it."""
        return self.rehearsal.control_plane.pods.volume(self.namespace, CLAIM) / backup / "database.dump"

    def fetch(self, backup: str, folder: Path) -> None:
        """Copies a backup off the cluster into a folder, as the runbook says."""
        made = ("create", "job", "fetch", "--from=cronjob/invoicetron-db-restore", "--dry-run=client", "-o", "yaml")
        job = self.rehearsal.kubectl("-n", self.namespace, *made)
        waits = self.rehearsal.kubectl(
            "set", "env", "--local", "-f", "-", "RESTORE_FROM=upload", "-o", "yaml", stdin=job
        )
        self.rehearsal.kubectl("-n", self.namespace, "create", "-f", "-", stdin=waits)
        ready = ("wait", "pod", "-l", "job-name=fetch", "--for=condition=Ready", "--timeout=2m")
        self.rehearsal.kubectl("-n", self.namespace, *ready)
        for file in ("database.dump", "manifest.json"):
            command = f'cat "$BACKUPS"/{backup}/{file}'
            with (folder / file).open("wb") as opened:
                subprocess.run(
                    [
                        self.rehearsal.tools.kubectl,
                        "-n",
                        self.namespace,
                        "exec",
                        "job/fetch",
                        "--",
                        "sh",
                        "-c",
                        command,
                    ],
                    env=dict(self.rehearsal.program.environment),
                    stdout=opened,
                    check=True,
                    timeout=120,
                )
        self.rehearsal.kubectl("-n", self.namespace, "delete", "job", "fetch")

    def run(self, cron_job: str, name: str) -> str:
        """Runs a Job made from a CronJob with `kubectl create job --from`; returns its log once it has succeeded."""
        kubectl = partial(self.rehearsal.kubectl, "-n", self.namespace)
        kubectl("create", "job", name, f"--from=cronjob/{cron_job}")
        kubectl("wait", f"job/{name}", "--for=condition=Complete", "--timeout=120s")
        return kubectl("logs", f"job/{name}")

    def ops(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """`python -m ops <arguments>`, as a user runs it in the program's directory."""
        with self.started(*arguments, **environment) as process:
            output, _ = process.communicate(timeout=240)
        return subprocess.CompletedProcess(arguments, process.returncode, output)

    @contextmanager
    def started(self, *arguments: str, before: str = "", **environment: str) -> Iterator[subprocess.Popen[str]]:
        """The same command while it runs, with all output in one pipe. `before` is Python code that it runs first."""
        command, *options = arguments
        process = subprocess.Popen(
            [*attentive("ops", before), *command.split(), "--stack", self.stack, *options],
            cwd=self.rehearsal.program.directory,
            env={**self.rehearsal.program.environment, "PYTHONPATH": str(REPOSITORY), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def deployment(self) -> dict[str, Any]:
        """The app's Deployment with its managed fields."""
        return self._get("deployment", "invoicetron", "--show-managed-fields")

    def app(self) -> tuple[int, int]:
        """Desired and available replicas of the app."""
        found = self.deployment()
        return found["spec"]["replicas"], found["status"].get("availableReplicas", 0)

    def running_jobs(self) -> list[str]:
        """Names of the Jobs that have not ended."""
        jobs = self._get("jobs")["items"]
        return [job["metadata"]["name"] for job in jobs if job["status"].get("active")]

    def _get(self, *arguments: str) -> dict[str, Any]:
        return self.rehearsal.get(*arguments, namespace=self.namespace)


def until(output: IO[str] | None, text: str) -> str:
    """Reads up to the line that contains `text`; returns what it read."""
    assert output is not None
    lines = []
    for line in output:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError(f"{text!r} was never said:\n{''.join(lines)}")
