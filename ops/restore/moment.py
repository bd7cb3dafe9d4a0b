"""`ops restore --to <moment>`: the database as it was at a moment between two backups, from the archive of its log.

CloudNativePG recovers into a new Cluster only. So this creates one beside the live one, and dumps it. From there on it
is a restore like any other, with the same guarantees: the live Cluster stays, with its standbys, volumes and place in
the state, and nothing is replaced before the new data is complete and compared.
"""

from __future__ import annotations

import datetime as dt
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from kubernetes.client import CustomObjectsApi
from kubernetes.client.exceptions import ApiException

from components.cloudnative_pg import API, CLUSTER_LABEL, KIND, RESOURCE
from components.wal_archive import API as WAL_API
from components.wal_archive import PLUGIN
from components.wal_archive import RESOURCE as STORES
from ops.backup import cron_job, labels, why_no_backups, written_by
from ops.kube.cluster import REQUEST_TIMEOUT, Cluster, ClusterError, Selection, error_message, unless_gone
from ops.kube.job import Job, JobFailedError, create, run
from ops.restore.source import Source, SourceError, parse_moment, shown
from ops.terminal import Terminal
from settings import Settings
from settings.commands import pulumi_command
from settings.names import Names

_SOURCE: Final = "archive"
"""Name of the external cluster in the recovered Cluster."""
_PATIENCE: Final = 6 * 3600.0
"""Seconds for a recovery: a base backup of 100 GB at 10 MB/s takes three hours, and then the log is replayed."""
_ARCHIVE: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_GONE: Final = 300.0  # seconds for the recovered Cluster's pods to end
_LOOK: Final = 1.0  # seconds between two reads of it


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The moment to recover, and the archive to recover it from."""

    at: dt.datetime
    archive: str
    """Name of the archive: the live database's, or that of a lost one."""
    live: bool
    """Whether the live database writes into it."""


def parse(settings: Settings, *, to: str, archive: str | None) -> Moment:
    """The moment that the command line asks for; raises `SourceError` with everything that is wrong with it."""
    database = settings.database
    if database is None:
        raise SourceError(f"{why_no_backups(settings)} to restore into")
    wrong: list[str] = []
    if not database.is_cluster:
        wrong.append(
            f"--to {to}: database.engine {database.engine} archives no write-ahead log, so between two backups there "
            f"is nothing to recover to. To restore the newest backup that was complete by then, use --from '{to}'"
        )
    elif database.wal is None:
        wrong.append(
            f"--to {to}: the stack archives no write-ahead log (database.wal). To restore the newest backup that was "
            f"complete by then, use --from '{to}'"
        )
    elif database.upgrade is not None:
        wrong.append(
            f"--to {to}: the stack file names both versions of an upgrade, and so two archives (database.upgrade): "
            "finish the upgrade, or remove that section"
        )
    elif database.moving_from is not None:
        wrong.append(f"--to {to}: the database moves to the other engine (database.movingFrom); finish the move first")
    if archive is not None and not _ARCHIVE.fullmatch(archive):
        wrong.append(
            f"--archive {archive}: expected a name as in database.wal.archive: up to 63 lower-case letters, digits "
            "and inner hyphens"
        )
    try:
        at = parse_moment(to, zone=settings.backup.time_zone if settings.backup else "Etc/UTC")
    except SourceError as error:
        wrong.append(str(error))
    if wrong or database.wal is None:
        raise SourceError("\n".join(wrong))
    own = database.wal.archive or settings.names.database
    return Moment(at=at, archive=archive or own, live=archive in {None, own})


def recovered(cluster: Cluster, terminal: Terminal, moment: Moment) -> Source:
    """Writes a dump of the database as it was then to the backup volume; replaces nothing.

    Raises `SourceError` if the archive does not reach back that far, `JobFailedError` and `ClusterError`.
    """
    recovery = Recovery(cluster=cluster, terminal=terminal, moment=moment)
    live = recovery.read(cluster.names.database)
    if live is None:
        raise ClusterError(f"there is no Cluster {cluster.names.database} in {cluster.namespace} to restore into")
    recovery.check_reach()
    template = cron_job(cluster, cluster.names.backup)
    if moment.live:
        recovery.archive_log(template)
    with recovery.beside(beside(live, moment, cluster.names)):
        return Source(backup=recovery.dump(template), recovered=moment.at)


def beside(live: dict[str, Any], moment: Moment, names: Names) -> dict[str, Any]:
    """The Cluster to recover into: like the live one, but with one instance, and without archiving.

    Raises `ClusterError` if the live one does not archive either.
    """
    replaced = {"bootstrap", "plugins", "externalClusters"}
    spec = {key: value for key, value in live["spec"].items() if key not in replaced}
    initdb = live["spec"]["bootstrap"]["initdb"]
    postgresql = {key: value for key, value in spec["postgresql"].items() if key != "synchronous"}
    archiving = [one for one in live["spec"].get("plugins", []) if one["name"] == PLUGIN]
    if not archiving:
        raise ClusterError(f"{names.database} archives nothing yet: run `{pulumi_command('up', names.stack)}` first")
    store = archiving[0]["parameters"]["barmanObjectName"]
    return {
        "apiVersion": API,
        "kind": KIND,
        "metadata": {"name": names.recovered, "labels": {**names.labels(names.recovered), **names.owner_labels}},
        "spec": {
            **spec,
            "instances": 1,
            "primaryUpdateMethod": "restart",
            "enablePDB": False,
            "postgresql": postgresql,
            "bootstrap": {
                "recovery": {
                    "source": _SOURCE,
                    **{key: initdb[key] for key in ("database", "owner", "secret")},
                    "recoveryTarget": {"targetTime": moment.at.astimezone(dt.UTC).isoformat(sep=" ")},
                }
            },
            "externalClusters": [
                {
                    "name": _SOURCE,
                    "plugin": {
                        "name": PLUGIN,
                        "parameters": {"barmanObjectName": store, "serverName": moment.archive},
                    },
                }
            ],
            # Without the store here, the plugin would remove its container as soon as the server runs, which would
            # restart the pod in the middle of the dump.
            "plugins": [
                {
                    "name": PLUGIN,
                    "enabled": True,
                    "isWALArchiver": False,
                    "parameters": {"barmanObjectName": store, "serverName": names.recovered},
                }
            ],
        },
    }


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """The steps of one recovery."""

    cluster: Cluster
    terminal: Terminal
    moment: Moment

    @property
    def _objects(self) -> Any:
        return CustomObjectsApi(self.cluster.client)

    def read(self, name: str, *, api: str = API, resource: str = RESOURCE) -> dict[str, Any] | None:
        """The object, or None if it does not exist."""
        return self.cluster.custom_object(api, resource, name)

    def check_reach(self) -> None:
        """Raises `SourceError` if the archive begins later, according to the plugin."""
        store = self.read(self.cluster.names.database, api=WAL_API, resource=STORES)
        windows = ((store or {}).get("status") or {}).get("serverRecoveryWindow") or {}
        first = windows.get(self.moment.archive, {}).get("firstRecoverabilityPoint")
        if first and (begins := dt.datetime.fromisoformat(first)) > self.moment.at:
            raise SourceError(
                f"--to: the archive {self.moment.archive} reaches back to {shown(begins)}, but "
                f"{shown(self.moment.at)} is earlier"
            )

    def archive_log(self, template: Any) -> None:
        """Has the live server archive its log until now: the moment may be in a segment that is not full yet."""
        names = self.cluster.names
        job = Job(cluster=self.cluster, name=f"{names.recovered}-log-{secrets.token_hex(4)}", say=self.terminal.say)
        create(job, template, script="archive-log.sh")
        try:
            with self.terminal.step(f"{job.name} archives the log up to now"):
                job.follow(waiting=self.terminal.waiting)
        except JobFailedError as error:
            self.terminal.say(f"The recovery uses what is archived already: {error}")

    @contextmanager
    def beside(self, body: dict[str, Any]) -> Iterator[None]:
        """Creates the recovered Cluster and waits until it is ready; deletes it afterwards in any case."""
        name = self.cluster.names.recovered
        if self.read(name) is not None:  # not ours to delete: another command may be using it
            raise ClusterError(
                f"there is a Cluster {name}: another recovery is running or was killed. If none is running: kubectl -n "
                f"{self.cluster.namespace} delete cluster {name}"
            )
        try:
            with self.terminal.step(f"recovering {self.moment.archive} to {shown(self.moment.at)}"):
                self._make(body)
                self._wait()
            yield
        finally:
            with self.cluster.interrupts.deferred():
                self._remove()

    def dump(self, template: Any) -> str:
        """Dumps the recovered Cluster; returns the dump's name."""
        names = self.cluster.names
        job = Job(cluster=self.cluster, name=f"{names.recovered}-dump-{secrets.token_hex(4)}", say=self.terminal.say)
        # Not a run of the CronJob: it would count as a success of that, but says nothing about the live database.
        recovered = {"PGHOST": f"{names.recovered}-rw", "KIND": "recovered", **labels(self.cluster)}
        run(
            job,
            template,
            self.terminal,
            does="dumps the recovered database",
            failed="The database was recovered, and could not be dumped",
            environment=recovered,
            script="backup.sh",
        )
        return written_by(job)

    def _make(self, body: dict[str, Any]) -> None:
        def request() -> None:
            try:
                self._objects.create_namespaced_custom_object(
                    *API.split("/"), self.cluster.namespace, RESOURCE, body, _request_timeout=REQUEST_TIMEOUT
                )
            except ApiException as error:
                if error.status == 409:  # an earlier attempt created it, and its answer was lost
                    return
                if error.status in {400, 403, 422}:
                    raise ClusterError(f"the recovered Cluster is refused: {error_message(error)}") from error
                raise

        self.cluster.persistently(request)

    def _wait(self) -> None:
        name, deadline = self.cluster.names.recovered, time.monotonic() + _PATIENCE
        look = f"kubectl -n {self.cluster.namespace} logs -l {CLUSTER_LABEL}={name} --all-containers --prefix"
        try:
            while not _is_ready(found := self.read(name)):
                if found is None:
                    raise ClusterError("somebody deleted the recovered Cluster")
                if self._has_failed():
                    raise ClusterError(f"the recovery has failed; see: {look}")
                if time.monotonic() > deadline:
                    raise ClusterError(f"the recovery takes longer than {_PATIENCE / 3600:.0f} h; see: {look}")
                self.terminal.waiting((found.get("status") or {}).get("phase", ""))
                self._pause()
        finally:
            self.terminal.waiting("")

    def _has_failed(self) -> bool:
        """Whether the operator's one Job has failed: it tries six times, and the operator does nothing after that."""
        selector = {"label_selector": f"{CLUSTER_LABEL}={self.cluster.names.recovered}"}
        jobs = Selection(listing=self.cluster.batch.list_namespaced_job, selector=selector).listed(self.cluster)
        return any(one.type == "Failed" and one.status == "True" for job in jobs for one in job.status.conditions or [])

    def _remove(self) -> None:
        name = self.cluster.names.recovered

        request = partial(
            self._objects.delete_namespaced_custom_object,
            *API.split("/"),
            self.cluster.namespace,
            RESOURCE,
            name,
            propagation_policy="Foreground",
            _request_timeout=REQUEST_TIMEOUT,
        )
        with self.terminal.step(f"deleting the Cluster {name}"):
            self.cluster.persistently(partial(unless_gone, request))
            deadline = time.monotonic() + _GONE
            while self.read(name) is not None:
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"it has not been deleted; see: kubectl -n {self.cluster.namespace} get cluster {name}"
                    )
                self._pause()

    def _pause(self) -> None:
        self.cluster.interrupts.check()
        time.sleep(_LOOK)


def _is_ready(found: dict[str, Any] | None) -> bool:
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
