"""`ops upgrade` on CloudNativePG: its operator upgrades the data in place, by pg_upgrade; the app is stopped meanwhile.

The operator begins once the Cluster names an image of a later major version. Before that, this takes a backup; after
that, this waits, restores the old image if the operator's Job has failed, and compares the rows with that backup before
it starts the app. `up` finds out from the Cluster which version it is on (lookups/database_claims.py).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, NoReturn, Self

from components.cloudnative_pg import API, CLUSTER_LABEL, RESOURCE
from components.wal_archive import PLUGIN, archive
from lookups.database_claims import UPGRADE_RUN, data_major, requested_major
from ops.backup import cron_job, labels, written_by
from ops.kube.cluster import Cluster, ClusterError
from ops.kube.job import START_PATIENCE, Job, JobFailedError, run
from ops.restore.app_start import or_else, start_app
from ops.restore.app_stop import App, PreviousState
from ops.terminal import Terminal
from ops.upgrade.conditions import SCRIPT, find_problems
from ops.upgrade.operated_cluster import OperatedCluster, serves
from settings import Settings
from settings.commands import ops_command, pulumi_command
from settings.database import DatabaseSettings
from settings.names import PROGRAM

BACKUP: Final = f"ops.{PROGRAM}/upgraded-after"
"""Annotation of the Cluster during an upgrade: the backup to compare the upgraded database with."""
_UPGRADE_PATIENCE: Final = 3600.0
"""Seconds for the instances to end and for pg_upgrade, which copies no data (`--link`)."""
_READY_PATIENCE: Final = 900.0  # seconds, to pull an image and attach a volume to another node
_LOOK: Final = 2.0  # seconds between two reads of the Cluster


class UpgradeFailedError(Exception):
    """The operator's Job has ended without upgrading the data; the message says why."""


@dataclass(frozen=True, kw_only=True)
class OperatedUpgrade:
    """One upgrade; call `look` before asking the user, `run` after."""

    cluster: Cluster
    terminal: Terminal
    settings: Settings
    database: DatabaseSettings
    major: int
    """The version to upgrade to."""
    found: int | None
    """The data's version."""
    asked: bool
    """Whether the Cluster asks for that version already: an earlier run has asked, or the database is on it."""
    backup: str | None
    """The backup that an earlier run took; None once the database has been compared with it."""
    app: App
    was: PreviousState
    interrupted: bool
    """Whether an earlier run stopped the app and did not start it again."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the backup records about itself."""

    @classmethod
    def look(cls, cluster: Cluster, terminal: Terminal, settings: Settings, to: int) -> Self:
        """Reads the live state; changes nothing. Raises `ClusterError` with everything that prevents the upgrade."""
        database = settings.database
        live = cluster.custom_object(API, RESOURCE, cluster.names.database)
        if database is None or live is None:
            up = pulumi_command("up", settings.stack)
            raise ClusterError(f"there is no Cluster {cluster.names.database} in {cluster.namespace}: run `{up}` first")
        found, asked = data_major(live), requested_major(live) == to
        app = App(cluster=cluster, run=f"{UPGRADE_RUN}{secrets.token_hex(4)}")
        stopped = app.stopped_by()
        problems = [] if asked else list(find_problems(cluster, settings, database, live, to))
        if stopped is not None and not stopped.startswith(UPGRADE_RUN):
            problems.append("the app is stopped for a restore that has not ended: end that first")
        if problems:
            listed = "\n".join(f"  {one}" for one in problems)
            raise ClusterError(
                f"{settings.stack} cannot be upgraded to PostgreSQL {to} as it is. Nothing was changed.\n{listed}"
            )
        return cls(
            cluster=cluster,
            terminal=terminal,
            settings=settings,
            database=database,
            major=to,
            found=found,
            asked=asked,
            backup=(live["metadata"].get("annotations") or {}).get(BACKUP),
            app=app,
            was=app.before(),
            interrupted=stopped is not None,
            labels=labels(cluster),
        )

    @property
    def live(self) -> OperatedCluster:
        """The database's Cluster."""
        return OperatedCluster(cluster=self.cluster)

    @property
    def announcement(self) -> str:
        """What will happen."""
        stack, again = self.settings.stack, f"and is scaled back to {self.was.size} afterwards"
        if self.found == self.major and not self.interrupted:
            return f"The database of {stack} is on PostgreSQL {self.major}."
        if self.asked:
            return f"The upgrade of {stack} to PostgreSQL {self.major} goes on. The app is stopped, {again}."
        upgrade = self.database.upgrade
        image = upgrade.operand_image if upgrade else None
        lines = [
            f"Stack {stack}, namespace {self.cluster.namespace}, cluster {self.cluster.client.configuration.host}:",
            f"  CloudNativePG's operator upgrades the data in place, from PostgreSQL {self.found} to {image};",
            "  before that, a backup is taken and kept; it is the only way back once the upgrade has succeeded;",
            "  every instance is stopped; afterwards the standbys are created again, as copies of the primary;",
            *(
                [f"  the write-ahead log goes to the archive {upgrade.archive} from then on;"]
                if upgrade and upgrade.archive
                else []
            ),
            f"  the app is stopped during this, {again};",
        ]
        return "\n".join(lines)[:-1] + "."

    def run(self) -> None:
        """Upgrades the database, and prints what to do next.

        Raises `JobFailedError` or `ClusterError` (`StoppedError` among them). The app then runs on the old version
        again, unless a message says that it stays stopped.
        """
        backup = self.backup
        if not self.asked:
            with or_else(self._start_app):
                self._try()  # while everything runs: the API server may refuse it
                backup = self._back_up()
            with self._or_say_how_to_go_on(backup), self.cluster.interrupts.deferred():
                self._ask(backup)
        elif self.interrupted:
            with self._or_say_how_to_go_on(backup):
                self.app.stop()  # it is stopped; this makes it this run's to start
        with self._or_say_how_to_go_on(backup):
            try:
                self._wait_for_data()
            except UpgradeFailedError as error:
                self._give_up(error, backup)
            self._wait_for_server()
            # Once the app has run, the rows differ.
            if backup is not None and (self.interrupted or not self.asked):
                self._compare(backup)
        if self.interrupted or not self.asked:
            self._start_app()
        taken = self._take_base_backup() if self.database.wal is not None and backup is not None else None
        if backup is not None:
            self.live.patch({"metadata": {"annotations": {BACKUP: None}}})
        self.terminal.say(self._next_steps(taken))

    @contextmanager
    def _or_say_how_to_go_on(self, backup: str | None) -> Iterator[None]:
        again = ops_command("upgrade", self.settings.stack, "--to", str(self.major))
        kept = f" The backup from before is {backup}." if backup else ""
        try:
            yield
        except ClusterError as error:
            raise ClusterError(
                f"{error}\nThe app stays stopped, and the operator goes on by itself.{kept} To go on, run this again: "
                f"{again}"
            ) from error

    def _try(self) -> None:
        """Raises `ClusterError` if the API server would refuse the later requests."""
        self._ask("none", dry_run="All")
        if self.database.wal is not None:
            self.live.create_base_backup(dry_run="All")

    def _back_up(self) -> str:
        """Stops the app and takes the backup; returns its name."""
        with self.terminal.step("stopping the app"):
            self.app.stop()
        template = cron_job(self.cluster, self.cluster.names.backup)
        job = Job.of(template, self.cluster, self.terminal.say)
        run(
            job,
            template,
            self.terminal,
            does="takes a backup",
            failed="The database was not upgraded, because it could not be backed up",
            # Kept like the backup from before a restore: until three others have followed.
            environment={**self.labels, "KIND": "before-restore"},
            script="backup.sh",
        )
        name = written_by(job)
        if not self.app.is_ours():
            raise ClusterError("another run of ops has stopped the app in the meantime and takes over from this one")
        return name

    def _ask(self, backup: str | None, **options: str) -> None:
        """Sets image and archive in one request: whatever the upgraded server writes goes to its own archive."""
        upgrade = self.database.upgrade
        if upgrade is None or upgrade.operand_image is None:
            raise ValueError("`look` refuses an upgrade that names no image")
        if not options:
            self.terminal.say(f"asking the operator for {upgrade.operand_image}")
        self._set(upgrade.operand_image, upgrade.archive, backup, **options)

    def _set(self, image: str, name: str | None, backup: str | None, **options: str) -> None:
        """Patches the Cluster; `name` is the archive's."""
        body: dict[str, Any] = {"metadata": {"annotations": {BACKUP: backup}}, "spec": {"imageName": image}}
        if name is not None:
            plugins = self.live.read()["spec"].get("plugins") or []
            body["spec"]["plugins"] = [
                {**one, "parameters": {**one["parameters"], "serverName": name}} if one["name"] == PLUGIN else one
                for one in plugins
            ]
        self.live.patch(body, **options)

    def _wait_for_data(self) -> None:
        """Waits until the operator reports that the data has the new version. Raises `UpgradeFailedError`."""
        began, look = time.monotonic(), f"kubectl -n {self.cluster.namespace} get pods,jobs -l {CLUSTER_LABEL}"
        pending: float | None = None
        with self.terminal.step(f"the operator upgrades the data to PostgreSQL {self.major}"):
            while data_major(live := self.live.read()) != self.major:
                jobs = self.live.jobs()
                for job in jobs:
                    if any(one.type == "Failed" and one.status == "True" for one in job.status.conditions or []):
                        raise UpgradeFailedError(self.live.last_words(job.metadata.name))
                # Until its container starts, nothing has touched the data; after that, nobody should end it.
                reason = self.live.not_started(jobs[0].metadata.name) if jobs else None
                pending = None if reason is None else pending or time.monotonic()
                if reason is not None and pending is not None and time.monotonic() - pending > START_PATIENCE:
                    raise UpgradeFailedError(f"its pod did not start within {START_PATIENCE:.0f} s: {reason}")
                if time.monotonic() - began > _UPGRADE_PATIENCE:
                    raise ClusterError(f"the upgrade takes longer than {_UPGRADE_PATIENCE / 60:.0f} min; see: {look}")
                self.terminal.waiting(reason or (live.get("status") or {}).get("phase", ""))
                self.cluster.interrupts.check()
                time.sleep(_LOOK)
        self.terminal.waiting("")

    def _wait_for_server(self) -> None:
        """Waits until an instance with the image that the Cluster names is ready."""
        image, names = self.live.read()["spec"]["imageName"], self.cluster.names
        pods = self.cluster.pods({CLUSTER_LABEL: names.database, "cnpg.io/podRole": "instance"})
        with self.terminal.step("waiting for the primary"):
            if not self.cluster.until(pods, done=partial(serves, image=image), timeout=_READY_PATIENCE):
                raise ClusterError(
                    f"no instance of {image} is ready after {_READY_PATIENCE:.0f} s; see: kubectl -n "
                    f"{self.cluster.namespace} describe cluster {names.database}"
                )

    def _give_up(self, reason: UpgradeFailedError, backup: str | None) -> NoReturn:
        """Restores the old image; the operator then deletes its Job and starts the instances as they were."""
        wal, old = self.database.wal, self.live.read()["status"]["pgDataImageInfo"]["image"]
        try:
            with self.cluster.interrupts.deferred():
                with self.terminal.step(f"putting {old} back"):
                    self._set(old, archive(wal, self.cluster.names) if wal else None, None)
                self._wait_for_server()
                self._start_app()
        except ClusterError as error:
            raise JobFailedError(
                f"The upgrade has failed: {reason}\nThe old image {old} was put back, but then: {error}\nThe app may "
                f"be stopped. The backup from before is {backup} (docs/database-engines.md, Another major version)"
            ) from error
        raise JobFailedError(
            f"The upgrade has failed, and the database is on PostgreSQL {self.found} again, as it was: {reason}"
        )

    def _compare(self, backup: str) -> None:
        template = self.cluster.persistently(lambda: cron_job(self.cluster, self.cluster.names.backup))
        job = Job.of(template, self.cluster, self.terminal.say)
        try:
            run(
                job,
                template,
                self.terminal,
                does=f"compares the database with {backup}",
                failed=f"The database is on PostgreSQL {self.major}, and could not be compared",
                environment={"BACKUP": backup, "MAJOR": str(self.major)},
                script=SCRIPT,
            )
        except JobFailedError as error:
            restore = ops_command("restore", self.settings.stack, "--from", backup)
            raise ClusterError(
                f"{error}\nIf rows are missing, this brings them back, and starts the app: {restore}"
            ) from error

    def _take_base_backup(self) -> str | None:
        """Starts a base backup and returns its name; no recovery to a moment is possible before that backup."""
        try:
            return self.live.create_base_backup()
        except ClusterError as error:
            self.terminal.say(f"The base backup could not be requested: {error}")
            return None

    def _start_app(self) -> None:
        start_app(self.cluster, self.terminal, self.app.start, replicas=self.was.replicas)

    def _next_steps(self, taken: str | None) -> str:
        stack, upgrade = self.settings.stack, self.database.upgrade
        steps = [f"The database of {stack} is on PostgreSQL {self.major}."]
        if taken is not None:
            steps.append(
                f"Nothing can be recovered to a moment before the base backup {taken} is complete: kubectl -n "
                f"{self.cluster.namespace} get backups.postgresql.cnpg.io {taken}"
            )
        if upgrade is not None:
            key = f"{self.cluster.names.project}:database"
            values = {
                "image": upgrade.image,
                "operandImage": upgrade.operand_image,
                **({"wal.archive": upgrade.archive} if upgrade.archive else {}),
            }
            steps += [
                "Backups use the new version, and succeed again, after:",
                *(
                    f"    {pulumi_command('config set', stack, '--path', f'{key}.{one}', str(value))}"
                    for one, value in values.items()
                ),
                f"    {pulumi_command('config rm', stack, '--path', f'{key}.upgrade')}",
                f"    {pulumi_command('up', stack)}",
            ]
        return "\n".join(steps)
