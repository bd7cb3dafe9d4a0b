"""A protected stack moves to CloudNativePG and back, with the real operator, killed on the way.

Kills inside the Job are those of tests/database/test_move.py; between the command's steps, tests/unit/ops/test_move.py.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from kubernetes.client import BatchV1Api

from rehearsal.engine import EngineError
from rehearsal.lifecycle import Lifecycle
from rehearsal.pods.postgres import PostgresServer
from rehearsal.rehearsal import REPOSITORY, Rehearsal
from settings.cloudnative_pg import Engine
from tests.database.invoices import content, databases, fill
from tests.rehearsal.backed_up import BackedUp
from tests.rehearsal.cloudnative_pg.operated import Stack

HOSTS: Final[dict[Engine, str]] = {"statefulset": "invoicetron-db", "cloudnative-pg": "invoicetron-db-rw"}
OPEN, CLOSED = "invoicetron", "invoicetron_moved"
APP_ROLE: Final = "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = 'invoicetron'"
KILLED_AFTER: Final = """
import os, sys
from ops.clients import kubernetes_client, load_settings
from ops.kube.cluster import Cluster, Interrupts
from ops.move import Move
from ops.terminal import Terminal
settings = load_settings("dev")
cluster = Cluster(client=kubernetes_client(settings), names=settings.names, interrupts=Interrupts())
for step in Move.look(cluster, Terminal(), settings, sys.argv[1]).steps[: int(sys.argv[2])]:
    step.do()
    print(step.name, flush=True)
os._exit(9)
"""


@dataclass(frozen=True, kw_only=True)
class Moving:
    """The stack dev, with its app and both of its databases."""

    rehearsal: Rehearsal
    stack: Stack
    ops: BackedUp

    def server(self, engine: Engine) -> PostgresServer:
        return self.rehearsal.control_plane.pods.database(self.stack.namespace, HOSTS[engine])

    def killed_after(self, steps: int, to: Engine) -> list[str]:
        """The steps done by a process that exits abruptly after this many of them."""
        done = subprocess.run(
            [sys.executable, "-c", KILLED_AFTER, to, str(steps)],
            cwd=self.rehearsal.program.directory,
            env={**self.rehearsal.program.environment, "PYTHONPATH": str(REPOSITORY)},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 9, done.stdout + done.stderr
        return [line for line in done.stdout.splitlines() if line in {"stop", "fill", "mark", "point", "start"}]

    def interrupted(self, to: Engine, number: signal.Signals) -> str:
        """What the command prints if it gets the signal while its Job runs."""
        left = self.running_jobs()  # left by a command that was killed
        with self.ops.started("move-database", "--to", to, "--yes") as process:
            deadline = time.monotonic() + 120
            while not self.running_jobs() - left:
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < deadline
                time.sleep(0.05)
            process.send_signal(number)
            said, _ = process.communicate(timeout=120)
        assert process.returncode != 0
        return said

    def running_jobs(self) -> set[str]:
        with self.rehearsal.client as client:
            jobs: Any = BatchV1Api(client).list_namespaced_job(self.stack.namespace).items
        return {job.metadata.name for job in jobs if job.status.active}

    def app(self) -> tuple[int, str]:
        """How many replicas the app has, and the host of its database."""
        url = self.stack.secret("invoicetron-app")["database-url"]
        return self.ops.deployment()["spec"]["replicas"], str(urlsplit(url).hostname)

    def check(self, source: Engine, before: str) -> None:
        """Checks what holds at every moment: no data is lost, and the app runs on the open database or not at all."""
        assert content(self.server(source), held(self.server(source))) == before
        replicas, host = self.app()
        if replicas:
            (engine,) = (one for one, its in HOSTS.items() if its == host)
            assert held(self.server(engine)) == OPEN

    def host_of_backups(self) -> Any:
        (container,) = self.stack.get("cronjob", "invoicetron-db-backup")["spec"]["jobTemplate"]["spec"]["template"][
            "spec"
        ]["containers"]
        return next(one["value"] for one in container["env"] if one["name"] == "PGHOST")

    def go(self, source: Engine, target: Engine) -> None:
        """Moves to the target, and then writes one more row there."""
        before = content(self.server(source))
        # Killed once the new one is filled: the app is stopped. Interrupted by SIGINT afterwards: the app is back.
        assert self.killed_after(3, target)[-1] == "fill"
        self.check(source, before)
        assert self.app()[0] == 0
        self.interrupted(target, signal.SIGINT)
        self.check(source, before)
        assert self.app() == (1, HOSTS[source])
        assert held(self.server(source)) == OPEN
        assert self.running_jobs() == set()
        # Killed while its Job runs, and once the new one is the live one.
        self.interrupted(target, signal.SIGKILL)
        self.check(source, before)
        # Not asked for afterwards: whenever it is, the emulator makes the roles those of the Cluster.
        filled = self.server(target)
        assert self.killed_after(4, target)[-1] == "mark"
        assert filled.sql(APP_ROLE, database="postgres") == "f|f|f", "as the Cluster has it, not as it was lent"
        self.check(source, before)
        assert self.app()[0] == 0
        self.finish(source, target)
        assert content(self.server(target), OPEN) == before
        self.server(target).sql("INSERT INTO invoices (number) VALUES (md5(random()::text))")

    def finish(self, source: Engine, target: Engine) -> None:
        """Runs the command to its end: the app runs on the new database, and the old one is closed."""
        done = self.ops.ops("move-database", "--to", target, "--yes")
        assert done.returncode == 0, done.stdout
        assert self.app() == (1, HOSTS[target])
        assert self.ops.app() == (1, 1)
        assert held(self.server(source)) == CLOSED

    def up(self, live: Engine) -> None:
        """Runs an `up`, after which everything follows the live database."""
        self.rehearsal.program.up("dev", "--skip-preview")
        assert self.host_of_backups() == HOSTS[live]
        assert self.app() == (1, HOSTS[live])


def held(server: PostgresServer) -> str:
    (name,) = {OPEN, CLOSED} & set(databases(server))
    return name


def test_a_stack_moves_there_and_back_and_no_kill_loses_data_or_leaves_the_app_on_a_closed_database(
    operated: Rehearsal,
) -> None:
    program = operated.program
    program.init("dev")
    operated.configure("dev", "protect", "true")
    stack = Stack(rehearsal=operated, name="dev")
    moving = Moving(rehearsal=operated, stack=stack, ops=BackedUp(rehearsal=operated))
    program.up("dev", "--skip-preview")
    lifecycle = Lifecycle(operated, "dev")
    lifecycle.deploy(lifecycle.image)
    fill(moving.server("statefulset"))

    # The new database beside the old one, which is still in use.
    stack.set("engine", "cloudnative-pg")
    stack.set("movingFrom", "statefulset")
    stack.set("instances", "1")
    program.up("dev", "--skip-preview")
    assert moving.app() == (1, "invoicetron-db")
    assert moving.host_of_backups() == "invoicetron-db"
    assert stack.cluster()["status"]["readyInstances"] == 1

    moving.go("statefulset", "cloudnative-pg")
    assert "Nothing was changed" in moving.ops.ops("move-database", "--to", "cloudnative-pg", "--yes").stdout
    assert "run `pulumi up -s dev` first" in moving.ops.ops("move-database", "--discard", "--yes").stdout
    # 1Password's URL names the old host: `up` says so before it changes anything.
    with pytest.raises(EngineError, match="the database was moved to invoicetron-db-rw"):
        program.up("dev", "--skip-preview")
    program.run("config", "rm", "--stack", "dev", "--path", "invoicetron:secrets.databaseUrl")
    # The way back, at once: this `up` points everything else at the Cluster, too.
    stack.set("engine", "statefulset")
    stack.set("movingFrom", "cloudnative-pg")
    moving.up("cloudnative-pg")
    assert not program.preview("dev").changes

    before = content(moving.server("cloudnative-pg"))
    moving.interrupted("statefulset", signal.SIGKILL)
    moving.finish("cloudnative-pg", "statefulset")
    assert content(moving.server("statefulset"), OPEN) == before
    moving.up("statefulset")

    # The old one is deleted, although it is protected; its volumes stay.
    volumes = {one["metadata"]["name"] for one in stack.volumes()}
    done = moving.ops.ops("move-database", "--discard", "--yes")
    assert done.returncode == 0, done.stdout
    assert all(f"kubectl delete pv {name}" in done.stdout for name in volumes)
    stack.unset("movingFrom")
    stack.unset("instances")
    moving.up("statefulset")
    assert not program.preview("dev").changes
    assert volumes <= set(operated.kubectl("get", "pv", "-o", "jsonpath={.items[*].metadata.name}").split())
    assert "DatabaseCluster" not in json.dumps(program.export("dev"))
    assert moving.server("statefulset").sql("SELECT count(*) FROM invoices") == "501"
