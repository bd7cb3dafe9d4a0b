"""Moves a stack's data from one engine's database to the other engine's, which `up` has created beside it.

Only an annotation of the namespace decides which of the two is live (`lookups.live_database`). Before it is written,
the old database is live, whatever was killed; afterwards, the new one is. The old database is closed before its last
backup, and stays closed; if the move is abandoned, it is opened again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.database_address import DatabaseAddress
from lookups.live_database import ANNOTATION, LiveDatabase
from ops.backup import cron_job, host_of, labels
from ops.kube.cluster import OPS, REQUEST_TIMEOUT, Cluster, ClusterError
from ops.kube.job import Job, JobFailedError, delete, run, unfinished
from ops.move.databases import app_url, fix_of_url, moved_url, read_namespace, set_app_url, uid_of
from ops.restore.app_stop import App, PreviousState, running_writer
from ops.superuser import lent, needs_loan
from ops.terminal import Terminal
from settings import Settings
from settings.cloudnative_pg import Engine, other_engine
from settings.commands import ops_command, pulumi_command
from settings.database import DatabaseSettings


class MoveError(ClusterError):
    """The move is not possible yet; the message says what to do first."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a move; after a kill before, during or after it, the move runs again from its first step."""

    name: str
    do: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Move:
    """One move; call `look` before asking the user, `run` after."""

    cluster: Cluster
    terminal: Terminal
    settings: Settings
    """The settings, with the live database."""
    database: DatabaseSettings
    """The section of the live database."""
    target: DatabaseSettings
    """The section of the database that is to become the live one, or is it already."""
    uid: str
    """Of the object that holds the new database."""
    template: Any
    """The suspended CronJob; None if the app only has to be started."""
    app: App
    was: PreviousState
    url: str = field(repr=False)
    """The database URL that the app is to have."""
    is_pointed: bool
    """Whether the app has that URL already."""
    left: Sequence[str] = ()
    """Jobs of earlier moves that still run, because the command that waited for them was killed."""

    @classmethod
    def look(cls, cluster: Cluster, terminal: Terminal, settings: Settings, to: Engine) -> Move:
        """Reads the live state; changes nothing. Raises `ClusterError` if the stack cannot be moved."""
        database, names = settings.database, settings.names
        if database is None:
            raise MoveError(f"stack {settings.stack} has no database")
        up = pulumi_command("up", settings.stack)
        if database.moving_from is None:
            raise MoveError(
                f"Pulumi.{settings.stack}.yaml configures no move: set database.engine: {to} and database.movingFrom: "
                f"{other_engine(to)}, and run `{up}`, which makes the new database beside the live one"
            )
        if to == database.moving_from:
            raise MoveError(
                f"Pulumi.{settings.stack}.yaml moves from {to}, not to it: for the way back, set database.engine: {to} "
                f"and database.movingFrom: {other_engine(to)}, and run `{up}`"
            )
        target, template, left = database if database.is_moved else database.beside, None, list[str]()
        if target is None:
            raise ValueError("a move without a second database")
        address = DatabaseAddress.of(names, target)
        if not database.is_moved:
            template = cron_job(cluster, names.move)
            if host_of(template) != address.host:
                raise MoveError(f"the CronJob {names.move} leads to another database: run `{up}` first")
            if why := running_writer(cluster):  # closing the database would abort it
                raise MoveError(why)
            left = unfinished(cluster, template)
            needs_loan(cluster, template)  # fails here rather than after the app is stopped
        current = app_url(cluster)
        url = moved_url(current, address.host)
        if fix := fix_of_url(url, names, target):
            raise MoveError(f"{fix}, run `{up}`, and then this again")
        app = App(cluster=cluster, run=secrets.token_hex(4))
        return cls(
            cluster=cluster,
            terminal=terminal,
            settings=settings,
            database=database,
            target=target,
            uid=uid_of(cluster, to),
            template=template,
            app=app,
            was=app.before(),
            url=url,
            is_pointed=url == current,
            left=left,
        )

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do: the app runs on the new database, or something but a move has stopped it."""
        return self.database.is_moved and self.is_pointed and not self.was.remembered

    @property
    def announcement(self) -> str:
        """What will happen."""
        if self.database.is_moved:
            return f"The data of {self.settings.stack} was moved to {self.target.engine}; the app is started on it."
        names, host = self.settings.names, self.cluster.client.configuration.host
        lines = [
            f"Stack {self.settings.stack}, namespace {self.cluster.namespace}, cluster {host}:",
            f"  the data moves from {self.database.engine} to {self.target.engine}, and is compared there;",
            f"  the app is stopped during this, and is scaled back to {self.was.size} afterwards;",
            f"  the old database stays, closed, as {names.database_role}_moved on its server;",
            *[f"  the Job {name} of an earlier move still runs, and is ended first;" for name in self.left],
        ]
        return "\n".join(lines)[:-1] + "."

    @property
    def steps(self) -> list[Step]:
        """The remaining steps, in order."""
        prepare = [
            Step(name="end what an earlier move has left running", do=self._end_earlier),
            Step(name="fill", do=self._fill),
            Step(name="mark", do=self._mark),
        ]
        return [
            Step(name="stop", do=self._stop),
            *(prepare if not self.database.is_moved else []),
            Step(name="point", do=self._point),
            Step(name="start", do=self._start),
        ]

    def run(self) -> None:
        """Moves the data; if it raises, the app runs on the old database, or the message says how to go on.

        Raises `JobFailedError` or `ClusterError` (`StoppedError` among them).
        """
        again = ops_command("move-database", self.settings.stack, "--to", self.target.engine)
        decided = self.database.is_moved
        for step in self.steps:
            try:
                self.cluster.interrupts.check()
                decided = decided or step.name == "mark"
                if decided:
                    with self.cluster.interrupts.deferred():
                        step.do()
                else:
                    step.do()
            except BaseException as error:
                if decided:
                    raise ClusterError(
                        f"{error}\nThe new database holds the data. The app may be stopped: run this again: {again}"
                    ) from error
                try:
                    self._give_up(step)
                except (ClusterError, JobFailedError) as second:
                    raise ClusterError(
                        f"{error}\n{second}\nThe old database holds the data, and may still be closed; the app may be "
                        f"stopped. Run this again, which goes on: {again}"
                    ) from error
                raise
        self.terminal.say(self._success)

    @property
    def _success(self) -> str:
        stack = self.settings.stack
        return (
            f"The app of {stack} runs on {self.target.engine}. Now: {pulumi_command('up', stack)}, because backups "
            "and alerts still use the old database, which is closed. Where 1Password has the field database-url, "
            f"change the host in it to {DatabaseAddress.of(self.settings.names, self.target).host} before. The old "
            f"database stays until: {ops_command('move-database', stack, '--discard')}"
        )

    def _stop(self) -> None:
        with self.terminal.step("stopping the app"):
            self.app.stop()

    def _end_earlier(self) -> None:
        for name in unfinished(self.cluster, self.template):
            with self.terminal.step(f"ending {name}"):
                delete(self.cluster, name)

    def _fill(self) -> None:
        self._refuse_company()
        with lent(self.cluster, self.terminal, self.template) as superuser:
            # restore.sh revokes SUPERUSER from its own role, on the server that it restores to.
            given = {} if self.target.is_cluster else superuser
            self._run_job({**labels(self.cluster), **given, "MOVE": "fill"}, f"moves the data to {self.target.engine}")
        self._refuse_company()

    def _refuse_company(self) -> None:
        if not self.app.is_ours():
            raise ClusterError("another command has stopped the app in the meantime and takes over from this one")

    def _run_job(self, environment: Mapping[str, str], does: str) -> None:
        job = Job.of(self.template, self.cluster, self.terminal.say)
        failed = "The move has failed"
        run(job, self.template, self.terminal, does=does, failed=failed, environment=environment)

    def _give_up(self, failed: Step) -> None:
        """Opens the old database again, and starts the app on it; does nothing if no run has stopped the app."""
        with self.cluster.interrupts.deferred():
            if failed.name == "stop" and not self.was.remembered and not self.app.is_ours():
                return
            self._refuse_company()
            self._end_earlier()
            with lent(self.cluster, self.terminal, self.template):
                self._run_job({"MOVE": "give-back"}, "opens the old database again")
            self.terminal.say(self.app.start())

    def _mark(self) -> None:
        live = LiveDatabase(engine=self.target.engine, uid=self.uid)
        body = {"metadata": {"annotations": {ANNOTATION: str(live)}}}
        self.cluster.persistently(
            lambda: self.cluster.core.patch_namespace(
                self.cluster.namespace, body, field_manager=OPS, _request_timeout=REQUEST_TIMEOUT
            )
        )
        if LiveDatabase.of(read_namespace(self.cluster)) != live:
            raise ClusterError("the namespace does not say that the new database is the live one")

    def _point(self) -> None:
        set_app_url(self.cluster, self.url)

    def _start(self) -> None:
        with self.terminal.step("starting the app"):
            self.terminal.say(self.app.start())
