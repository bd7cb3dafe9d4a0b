"""`ops upgrade`: moves the database to another major version of PostgreSQL by a dump; the app is stopped meanwhile.

`up` has created a claim for the new version, and a CronJob for the Job that fills it (upgrade.sh) while the old server
still runs. When the claim is filled, this points the StatefulSet at it, and starts the app. So the app runs on one of
the two servers or not at all. `up` finds out from the cluster which one that is (lookups/database_claims.py).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Self

from components.database import CONTAINER
from components.database_claims import MAJOR, UPGRADED_FROM
from lookups.database_claims import UPGRADE_RUN, candidates
from ops.backup import cron_job, labels
from ops.kube.cluster import PROVIDER, REQUEST_TIMEOUT, Cluster, ClusterError, unless_gone
from ops.kube.job import Job, delete, run, unfinished
from ops.restore.app_start import or_else, start_app
from ops.restore.app_stop import App, PreviousState, running_writer
from ops.superuser import DatabasePod, lent
from ops.terminal import Terminal
from settings import Settings
from settings.commands import ops_command, pulumi_command
from settings.database import DatabaseSettings
from settings.images import MAJORS, postgres_major

_READY_PATIENCE: Final = 600.0  # seconds, to pull an image and attach a volume to another node
_ANSWER_PATIENCE: Final = 60.0
_AGAIN: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Upgrade:
    """One upgrade; call `look` before asking the user, `run` after."""

    cluster: Cluster
    terminal: Terminal
    settings: Settings
    major: int
    """The version to upgrade to."""
    image: str
    template: Any
    """The suspended CronJob; None if the database is on that version already."""
    claim: str
    """The claim in use."""
    app: App
    was: PreviousState
    interrupted: bool
    """Whether an earlier run stopped the app and did not start it again."""
    left: list[str]
    """Jobs of earlier runs that still run, because the command that waited for them was killed."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """What the backup of the old data records about itself."""

    @classmethod
    def look(cls, cluster: Cluster, terminal: Terminal, settings: Settings, to: int) -> Self:
        """Reads the live state; changes nothing. Raises `ClusterError` if the stack cannot be upgraded to `to`."""
        database, names = _section(settings), cluster.names
        live, claim = _server(cluster)
        image = database.upgrade.image if database.upgrade else database.image
        app = App(cluster=cluster, run=f"{UPGRADE_RUN}{secrets.token_hex(4)}")
        template, left = None, []
        if postgres_major(live) != to:
            later = [str(major) for major in MAJORS if major > postgres_major(live)]
            if str(to) not in later:
                raise ClusterError(
                    f"--to {to}: the server has {live}, and can be upgraded to PostgreSQL {' or '.join(later)}"
                    if later
                    else f"--to {to}: the server has {live}, and this program knows no later version; there is no way "
                    "back to an earlier one but a backup"
                )
            if database.upgrade is None or postgres_major(image) != to:
                key = f"{names.project}:database.upgrade.image"
                command = pulumi_command("config set", settings.stack, "--path", key, "<image>")
                raise ClusterError(
                    f"the stack file names no image of PostgreSQL {to} to upgrade to; the server has {live}. First:\n"
                    f"    {command}\n    {pulumi_command('up', settings.stack)}"
                )
            template = _template(cluster, image)
            left = unfinished(cluster, template)
            _refuse_writers(cluster)
            if DatabasePod.of(cluster).role().first:
                raise ClusterError(
                    f"the role {names.database_role} is PostgreSQL's superuser, and is to own its database on the new "
                    f"version without being one. First: {ops_command('revoke-superuser', settings.stack)}"
                )
        return cls(
            cluster=cluster,
            terminal=terminal,
            settings=settings,
            major=to,
            image=image if template is not None else live,
            template=template,
            claim=claim,
            app=app,
            was=app.before(),
            interrupted=(app.stopped_by() or "").startswith(UPGRADE_RUN),
            left=left,
            labels=labels(cluster),
        )

    @property
    def target(self) -> str:
        """The claim of the new version."""
        return self.cluster.names.claim_of_major(self.major)

    @property
    def announcement(self) -> str:
        """What will happen."""
        stack, again = self.settings.stack, f"and is scaled back to {self.was.size} afterwards"
        if self.template is None:
            there = f"The database of {stack} is on PostgreSQL {self.major}, on the claim {self.claim}."
            return f"{there} The app has been stopped since, {again}." if self.interrupted else there
        lines = [
            f"Stack {stack}, namespace {self.cluster.namespace}, cluster {self.cluster.client.configuration.host}:",
            f"  the database moves to PostgreSQL {self.major}, {self.image}, on the claim {self.target};",
            f"  a backup, which is kept, transfers the data; the claim {self.claim} does not change;",
            "  databases made with `ops restore --into` and settings of ALTER SYSTEM are not carried over;",
            f"  the app is stopped during this, {again};",
            *[f"  the Job {name} of an earlier upgrade still runs, and is ended first;" for name in self.left],
        ]
        return "\n".join(lines)[:-1] + "."

    def run(self) -> None:
        """Upgrades the database, and prints what to do next.

        Raises `JobFailedError` or `ClusterError` (`StoppedError` among them). The app then runs on the old server
        again, unless a message says that it stays stopped.
        """
        if self.template is not None:
            with or_else(self._start_app):
                self._switch(dry_run="All")  # while everything runs: the API server may refuse it
                self._fill()
                self._mark()
        try:
            # From here on there is no way back to the old server, whatever happens.
            with self.cluster.interrupts.deferred():
                if self.template is not None:
                    with self.terminal.step(f"pointing {self.cluster.names.database} at {self.target}"):
                        self._switch()
                with self.terminal.step(f"starting PostgreSQL {self.major}"):
                    self._wait()
                if self.template is None and self.interrupted:
                    self.app.stop()  # it is stopped; this makes it this run's to start
        except ClusterError as error:
            raise ClusterError(
                f"{error}\nThe app stays stopped. The database is on the new volume or will be, complete; to go on, "
                f"run this again: {ops_command('upgrade', self.settings.stack, '--to', str(self.major))}"
            ) from error
        if self.template is not None or self.interrupted:
            self._start_app()
        self.terminal.say(self.cluster.persistently(lambda: self._next_steps))

    def _fill(self) -> None:
        if new := [name for name in unfinished(self.cluster, self.template) if name not in self.left]:
            raise ClusterError(f"another upgrade has started in the meantime: wait for {', '.join(new)} to finish")
        with self.terminal.step("stopping the app"):
            self.app.stop()
        for name in self.left:
            with self.terminal.step(f"ending {name}"):
                delete(self.cluster, name)
        _refuse_writers(self.cluster)
        with lent(self.cluster, self.terminal, self.template) as superuser:
            run(
                Job.of(self.template, self.cluster, self.terminal.say),
                self.template,
                self.terminal,
                does=f"fills {self.target}",
                failed="The upgrade has failed, and the database is where it was",
                environment={**self.labels, **superuser},
            )
        if not self.app.is_ours():
            raise ClusterError("another run of ops has stopped the app in the meantime and takes over from this one")

    def _mark(self) -> None:
        """Annotates the new claim with the origin of its data, so that `up` finds it even without the StatefulSet."""
        claims, where = self.cluster.core, {"namespace": self.cluster.namespace, "_request_timeout": REQUEST_TIMEOUT}
        old = self.cluster.persistently(lambda: claims.read_namespaced_persistent_volume_claim(self.claim, **where))
        body = {"metadata": {"annotations": {UPGRADED_FROM: old.metadata.uid, MAJOR: str(self.major)}}}
        self.cluster.persistently(
            lambda: claims.patch_namespaced_persistent_volume_claim(self.target, body=body, **where)
        )

    def _switch(self, **options: str) -> None:
        container = {"name": CONTAINER, "image": self.image, "env": [{"name": "PGDATA", "$patch": "delete"}]}
        volume = {"name": "data", "persistentVolumeClaim": {"claimName": self.target}}
        body = {"spec": {"template": {"spec": {"containers": [container], "volumes": [volume]}}}}
        self.cluster.persistently(
            lambda: self.cluster.apps.patch_namespaced_stateful_set(
                self.cluster.names.database,
                self.cluster.namespace,
                body,
                field_manager=PROVIDER,
                _request_timeout=REQUEST_TIMEOUT,
                **options,
            )
        )

    def _wait(self) -> None:
        """Waits until the server of the new version answers from the new claim."""
        cluster = self.cluster
        pods = cluster.pods({"app": cluster.names.database})
        claim = self.target if self.template is not None else self.claim
        done = partial(_serves, claim=claim)
        if not cluster.until(pods, done=done, timeout=_READY_PATIENCE):
            raise ClusterError(
                f"the pod of {cluster.names.database} is not ready on {claim} after {_READY_PATIENCE:.0f} s; see: "
                f"kubectl -n {cluster.namespace} describe pods --selector=app={cluster.names.database}"
            )
        deadline = time.monotonic() + _ANSWER_PATIENCE
        while True:
            try:
                found = DatabasePod.of(cluster).sql("SHOW server_version_num")
            except ClusterError:
                found = ""
            if found and int(found) // 10000 == self.major:
                return
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"the server does not say that it is PostgreSQL {self.major}: {found or 'no answer'}"
                )
            time.sleep(_AGAIN)

    def _start_app(self) -> None:
        start_app(self.cluster, self.terminal, self.app.start, replicas=self.was.replicas)

    @property
    def _next_steps(self) -> str:
        stack, project = self.settings.stack, self.cluster.names.project
        steps = []
        if self.settings.database is not None and self.settings.database.upgrade is not None:
            key = f"{project}:database"
            steps = [
                "Backups use the new version, and succeed again, after:",
                f"    {pulumi_command('config set', stack, '--path', f'{key}.image', self.image)}",
                f"    {pulumi_command('config rm', stack, '--path', f'{key}.upgrade')}",
                f"    {pulumi_command('up', stack)}",
            ]
        kept = [one.metadata.name for one in _kept(self.cluster)]
        if kept:
            steps += [
                f"The earlier data is on the claim {', '.join(kept)}, until you run:",
                f"    {ops_command('upgrade', stack, '--discard')}",
            ]
        return "\n".join([f"The database of {stack} is on PostgreSQL {self.major}.", *steps])


@dataclass(frozen=True, kw_only=True)
class Discard:
    """Deletes what an upgrade has kept; call `look` before asking the user, `run` after."""

    cluster: Cluster
    claims: list[Any]

    @classmethod
    def look(cls, cluster: Cluster, settings: Settings) -> Self:
        """Reads the live state; changes nothing. Raises `ClusterError` if nothing is kept or the app is stopped."""
        if settings.operated_database is not None:
            raise ClusterError(
                f"stack {settings.stack} keeps nothing of an earlier version: CloudNativePG upgrades in place. An "
                "earlier archive stays in the bucket until you delete it"
            )
        _section(settings)
        _, current = _server(cluster)
        kept = _kept(cluster)
        if not kept:
            raise ClusterError(f"stack {settings.stack} keeps no claim of an earlier version; it runs on {current}")
        app = App(cluster=cluster, run=UPGRADE_RUN)
        if app.stopped_by() is not None:
            raise ClusterError("the app is stopped for an upgrade or a restore that has not ended: end that first")
        return cls(cluster=cluster, claims=kept)

    @property
    def announcement(self) -> str:
        """What will be deleted."""
        _, current = _server(self.cluster)
        lines = [f"The database runs on {current}. Deleted, with the data from before the upgrade:"]
        for claim in self.claims:
            major = (claim.metadata.annotations or {}).get(MAJOR, "an earlier version")
            lines.append(f"  the claim {claim.metadata.name} of PostgreSQL {major}, on {claim.spec.volume_name}")
        return "\n".join(lines)

    def run(self) -> str:
        """Deletes the claims; returns a message with what is left to do."""
        retained = []
        for claim in self.claims:
            unless_gone(
                partial(
                    self.cluster.core.delete_namespaced_persistent_volume_claim,
                    claim.metadata.name,
                    self.cluster.namespace,
                    body={"preconditions": {"uid": claim.metadata.uid}},
                    _request_timeout=REQUEST_TIMEOUT,
                )
            )
            retained.append(claim.spec.volume_name)
        up = pulumi_command("up", self.cluster.names.stack)
        volumes = " ".join(name for name in retained if name)
        return (
            f"Deleted: {', '.join(one.metadata.name for one in self.claims)}. Now: {up}\n"
            f"A protected stack's volume stays, Released, until you delete it: kubectl delete pv {volumes}"
        )


def _section(settings: Settings) -> DatabaseSettings:
    """The section `database`; raises `ClusterError` unless the database is a StatefulSet."""
    if settings.database is None or settings.database.is_cluster:
        raise ClusterError(f"stack {settings.stack} has no StatefulSet of PostgreSQL: there is nothing to upgrade")
    return settings.database


def _server(cluster: Cluster) -> tuple[str, str]:
    """Image and claim of the StatefulSet."""
    found = unless_gone(
        lambda: cluster.apps.read_namespaced_stateful_set(
            cluster.names.database, cluster.namespace, _request_timeout=REQUEST_TIMEOUT
        )
    )
    if found is None:
        up = pulumi_command("up", cluster.names.stack)
        raise ClusterError(f"there is no StatefulSet {cluster.names.database}: run `{up}` first")
    pod = found.spec.template.spec
    image = next(one.image for one in pod.containers if one.name == CONTAINER)
    return image, next(
        one.persistent_volume_claim.claim_name for one in pod.volumes if one.persistent_volume_claim is not None
    )


def _kept(cluster: Cluster) -> list[Any]:
    """The claims of earlier versions."""
    _, current = _server(cluster)
    listed = cluster.core.list_namespaced_persistent_volume_claim(
        cluster.namespace, _request_timeout=REQUEST_TIMEOUT
    ).items
    there = {one.metadata.uid: one for one in listed if one.metadata.name in candidates(cluster.names)}
    kept: list[Any] = []
    later = next((one for one in there.values() if one.metadata.name == current), None)
    while later is not None:
        earlier = there.pop((later.metadata.annotations or {}).get(UPGRADED_FROM, ""), None)
        if earlier is not None:
            kept.append(earlier)
        later = earlier
    return kept


def _template(cluster: Cluster, image: str) -> Any:
    """The CronJob that `up` has created for this image."""
    up = pulumi_command("up", cluster.names.stack)
    try:
        found = cron_job(cluster, cluster.names.upgrade)
    except ClusterError as error:
        raise ClusterError(f"there is no CronJob {cluster.names.upgrade}: run `{up}` first") from error
    (container,) = found.spec.job_template.spec.template.spec.containers
    if container.image != image:
        raise ClusterError(f"the cluster has {container.image} prepared, and the stack file names {image}: run `{up}`")
    return found


def _refuse_writers(cluster: Cluster) -> None:
    if why := running_writer(cluster):  # the new version would lack what it writes during the dump
        raise ClusterError(why)


def _serves(pods: list[Any], *, claim: str) -> bool:
    """Whether a pod is ready on this claim, and no pod uses another one."""
    claims = {
        one.persistent_volume_claim.claim_name
        for pod in pods
        for one in pod.spec.volumes
        if one.persistent_volume_claim is not None
    }
    ready = [
        pod
        for pod in pods
        if pod.metadata.deletion_timestamp is None
        and any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or [])
    ]
    return claims == {claim} and bool(ready)
