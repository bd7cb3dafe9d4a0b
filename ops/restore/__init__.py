"""Replaces a stack's database with a backup, or with a dump from this machine, while the app is stopped."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from components.database_address import DatabaseAddress
from ops.backup import cron_job, host_of, labels, why_no_backups
from ops.kube.cluster import Cluster, ClusterError, StoppedError
from ops.kube.job import Job, JobFailedError, create, delete, unfinished
from ops.offsite import fetch
from ops.restore.app_start import or_else, start_app
from ops.restore.app_stop import App, PreviousState
from ops.restore.migration import refuse_new, refuse_running
from ops.restore.source import Source, SourceError, look_complaints, parse_expectation, parse_source
from ops.restore.transfer import upload
from ops.superuser import lent, needs_loan
from ops.terminal import Terminal
from settings import Settings
from settings.commands import pulumi_command


@dataclass(frozen=True, kw_only=True)
class RestoreRequest:
    """What to restore, and how."""

    stack: str
    source: Source
    expectation: str | None
    """Rows that must be there afterwards, as `parse_expectation` writes them."""
    clear_sessions: bool
    session_tables: Sequence[str] = ()
    """`backup.sessionTables` of the stack file."""
    into: str | None = None
    """Name of a database to fill for inspection; nothing is replaced then."""
    host: str | None = None
    """Of the live database; None if nobody has looked it up."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables that restore.sh reads, beyond those that its pod has anyway."""
        if self.source.at:
            raise ValueError("a backup by its time has no name yet")
        return {
            "RESTORE_FROM": self.source.backup or "upload",
            "RESTORE_CLEAR_SESSIONS": str(self.clear_sessions).lower(),
            **({"RESTORE_SESSION_TABLES": json.dumps(list(self.session_tables))} if self.session_tables else {}),
            **({"RESTORE_EXPECT": self.expectation} if self.expectation else {}),
            **({"RESTORE_INTO": self.into} if self.into else {}),
        }


def parse_request(
    settings: Settings, *, source: str, expect: str | None, clear_sessions: bool, into: str | None = None
) -> RestoreRequest:
    """The restore that the command line asks for; raises `SourceError` with everything that is wrong with it."""
    wrong: list[str] = []
    parsed, expectation = None, None
    why = why_no_backups(settings)
    if settings.database is None:
        raise SourceError(f"{why} to restore into")
    if why is not None:
        wrong.append(why)
    try:
        zone = settings.backup.time_zone if settings.backup else "Etc/UTC"
        parsed = parse_source(source, names=settings.names, limit=int(settings.database.size.amount), zone=zone)
    except SourceError as error:
        wrong.append(str(error))
    if parsed is not None and parsed.offsite and settings.backup is not None and settings.backup.s3 is None:
        wrong.append(f"--from {source}: stack {settings.stack} has no off-site copies (backup.s3)")
    try:
        expectation = parse_expectation(expect) if expect is not None else None
    except SourceError as error:
        wrong.append(str(error))
    if into is not None:
        wrong += look_complaints("--into", into)
        if clear_sessions:
            wrong.append("--clear-sessions: not with --into, because nobody logs in to that database")
    if wrong or parsed is None:
        raise SourceError("\n".join(wrong))
    return RestoreRequest(
        stack=settings.stack,
        source=parsed,
        expectation=expectation,
        clear_sessions=clear_sessions,
        session_tables=settings.backup.session_tables if settings.backup else (),
        into=into,
        host=DatabaseAddress.of(settings.names, settings.database).host,
    )


def template_for(cluster: Cluster, request: RestoreRequest) -> Any:
    """The suspended CronJob of restores.

    Raises `ClusterError` if there is none, or if it leads to a database that `ops move-database` has left since the
    last `up`: the app would not see what is restored there.
    """
    template = cron_job(cluster, cluster.names.restore)
    found = host_of(template) if request.host else None
    if found != request.host:
        up = pulumi_command("up", cluster.names.stack)
        raise ClusterError(
            f"restores still lead to {found}, and the database is now at {request.host}: run `{up}` first"
        )
    return template


def brought(cluster: Cluster, terminal: Terminal, request: RestoreRequest) -> RestoreRequest:
    """The request for a backup on the volume; fetches an off-site copy first. Raises `JobFailedError`."""
    source = request.source
    if not source.offsite or source.backup is None:
        return request
    return replace(request, source=Source(backup=fetch(cluster, terminal, name=source.backup)))


def send(cluster: Cluster, terminal: Terminal, source: Source, pod: str) -> None:
    """If the source is a file, sends it to the pod that waits for it; raises `ClusterError`."""
    if source.file is None:
        return
    with terminal.step(f"sending {source.file.name} to {pod}", size=source.file.stat().st_size) as sent:
        upload(cluster, pod, source.file, manifest=source.manifest, sent=sent)


@dataclass(frozen=True, kw_only=True)
class Restore:
    """One restore; call `look` before asking the user, `run` after."""

    cluster: Cluster
    terminal: Terminal
    request: RestoreRequest
    template: Any
    """The suspended CronJob."""
    app: App
    was: PreviousState
    left: list[str]
    """Jobs of earlier restores that still run, because the command that waited for them was killed."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the backup of the old data records about itself."""

    @classmethod
    def look(cls, cluster: Cluster, terminal: Terminal, request: RestoreRequest) -> Restore:
        """Reads the live state; changes nothing. Raises `ClusterError` if this stack cannot be restored."""
        template = template_for(cluster, request)
        app = App(cluster=cluster, run=secrets.token_hex(4))
        left = unfinished(cluster, template)
        refuse_running(cluster, request.source)
        needs_loan(cluster, template)  # fails here rather than after the app is stopped
        return cls(
            cluster=cluster,
            terminal=terminal,
            request=request,
            template=template,
            app=app,
            was=app.before(),
            left=left,
            labels=labels(cluster),
        )

    @property
    def announcement(self) -> str:
        """What will be replaced, with what, and what else happens."""
        host = self.cluster.client.configuration.host
        lines = [
            f"Stack {self.request.stack}, namespace {self.cluster.namespace}, cluster {host}:",
            f"  the database is replaced with {self.request.source},",
            f"  {self.request.source.scope};",
            "  its present data, if any, is saved as a backup before-restore-...;",
            f"  the app is stopped meanwhile, and has {self.was.size} again afterwards"
            + (", as it had before an earlier restore stopped it;" if self.was.remembered else ";"),
            *[f"  the Job {name} of an earlier restore still runs, and is ended first;" for name in self.left],
        ]
        if self.request.clear_sessions:
            lines.append("  everybody is logged out;")
        return "\n".join(lines)[:-1] + "."

    def run(self) -> None:
        """Restores the database; afterwards the app runs again, however the restore has ended.

        Raises `JobFailedError` or `ClusterError` (`StoppedError` among them). The old data is then still in place,
        unless a message says that the new data is.
        """
        self._refuse_company()
        refuse_running(self.cluster, self.request.source)
        # The app runs until the backup is on the volume.
        environment = {**brought(self.cluster, self.terminal, self.request).environment, **self.labels}
        with self._app_stopped():
            ended = refuse_running(self.cluster, self.request.source)
            for name in self._refuse_company():
                with self.terminal.step(f"ending {name}"):
                    delete(self.cluster, name)
            if not self.app.is_ours():
                raise ClusterError("another restore has stopped the app in the meantime and takes over from this one")
            with lent(self.cluster, self.terminal, self.template) as superuser:
                job = Job.of(self.template, self.cluster, self.terminal.say)
                try:
                    create(job, self.template, environment={**environment, **superuser})
                    with self.terminal.step(f"{job.name} restores {self.request.source}"):
                        job.follow(
                            started=partial(send, self.cluster, self.terminal, self.request.source),
                            waiting=self.terminal.waiting,
                        )
                except JobFailedError as error:
                    raise JobFailedError(f"The restore has failed: {error}") from error
                except BaseException as error:
                    if not self._ended_with_success(job):
                        raise
                    if isinstance(error, StoppedError):
                        self.terminal.say(self._success)
                        raise
            self.terminal.say(self._success)
            refuse_new(self.cluster, ended)

    @property
    def _success(self) -> str:
        return f"The database of {self.request.stack} now holds {self.request.source}."

    def _ended_with_success(self, job: Job) -> bool:
        """Ends the Job, unless it has succeeded first; returns whether it has."""
        with self.cluster.interrupts.deferred(), self.terminal.step(f"ending {job.name}"):
            if job.is_complete():
                return True
            job.end()
            return False

    def _refuse_company(self) -> list[str]:
        """The earlier restores that still run; raises `ClusterError` if another one has begun since `look`."""
        running = unfinished(self.cluster, self.template)
        new = [name for name in running if name not in self.left]
        if new:
            raise ClusterError(f"another restore has started in the meantime: wait for {', '.join(new)} to finish")
        return running

    @contextmanager
    def _app_stopped(self) -> Iterator[None]:
        with or_else(self._start_app):
            with self.terminal.step("stopping the app"):
                self.app.stop()
            yield
        self._start_app()

    def _start_app(self) -> None:
        start_app(self.cluster, self.terminal, self._started, replicas=self.was.replicas)

    def _started(self) -> str:
        # Whatever the app writes while a restore runs would be lost with the replaced data.
        if running := unfinished(self.cluster, self.template):
            raise ClusterError(f"it stays stopped while a restore runs: wait for the end of {', '.join(running)}")
        return self.app.start()
