"""Deletes the old database after a move: its server and its claims. prod keeps the volumes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from kubernetes import client as api
from kubernetes.client.exceptions import ApiException

from components import cloudnative_pg
from components.database_address import DatabaseAddress
from lookups.live_database import LiveDatabase
from ops.backup import cron_job, host_of
from ops.kube.cluster import REQUEST_TIMEOUT, Cluster, ClusterError, unless_gone
from ops.move.databases import claims_of, cluster_of, read_namespace
from ops.terminal import Terminal
from settings import Settings
from settings.cloudnative_pg import CLOUDNATIVE_PG, Engine, other_engine
from settings.commands import pulumi_command

_FORBIDDEN: Final = 403
_PATIENCE: Final = 300.0  # seconds for pods to end, which get two minutes, and then for their claims to go


@dataclass(frozen=True, kw_only=True)
class Discarding:
    """The deletion of the old database; call `look` before asking the user, `run` after."""

    cluster: Cluster
    terminal: Terminal
    settings: Settings
    engine: Engine
    """Of the database that is deleted."""
    volumes: list[str]
    """Volumes that stay, because their reclaim policy is Retain."""

    @classmethod
    def look(cls, cluster: Cluster, terminal: Terminal, settings: Settings) -> Discarding:
        """Reads the live state; changes nothing. Raises `ClusterError` if the old database is still needed."""
        database, up = settings.database, pulumi_command("up", settings.stack)
        moved = LiveDatabase.of(read_namespace(cluster))
        if database is None or moved is None or moved.engine != database.engine:
            raise ClusterError(f"no data of {settings.stack} was moved: there is nothing to discard")
        if host_of(cron_job(cluster, settings.names.backup)) != DatabaseAddress.of(settings.names, database).host:
            raise ClusterError(f"the backups still look at the old database: run `{up}` first")
        engine = other_engine(database.engine)
        volumes = [one.spec.volume_name for one in _claims(cluster, engine) if one.spec.volume_name]
        return cls(
            cluster=cluster,
            terminal=terminal,
            settings=settings,
            engine=engine,
            volumes=[name for name in volumes if _is_retained(cluster, name)],
        )

    @property
    def announcement(self) -> str:
        """What is deleted, and what stays."""
        kept = ", ".join(self.volumes)
        stays = (
            f"The volumes stay, with the old data, until you delete them: {kept}"
            if kept
            else "None of its volumes remain"
        )
        return f"The old database of {self.settings.stack} on {self.engine} is deleted, with its claims. {stays}."

    def run(self) -> None:
        """Deletes the database, and returns when it is gone. Another run completes an interrupted one."""
        cluster, names = self.cluster, self.settings.names
        with self.terminal.step(f"deleting the database on {self.engine}"):
            if self.engine == CLOUDNATIVE_PG:
                group, _, version = cloudnative_pg.API.partition("/")
                unless_gone(
                    lambda: api.CustomObjectsApi(cluster.client).delete_namespaced_custom_object(
                        group,
                        version,
                        cluster.namespace,
                        cloudnative_pg.RESOURCE,
                        names.database,
                        _request_timeout=REQUEST_TIMEOUT,
                    )
                )
            else:
                unless_gone(
                    lambda: cluster.apps.delete_namespaced_stateful_set(
                        names.database, cluster.namespace, _request_timeout=REQUEST_TIMEOUT
                    )
                )
                for claim in claims_of(cluster):
                    unless_gone(
                        partial(
                            cluster.core.delete_namespaced_persistent_volume_claim,
                            claim,
                            cluster.namespace,
                            _request_timeout=REQUEST_TIMEOUT,
                        )
                    )
            self._wait()
        stack = self.settings.stack
        key = f"{self.settings.project}:database.movingFrom"
        self.terminal.say(
            f"The old database is gone. Now: {pulumi_command('config rm', stack, '--path', key)}, and then: "
            f"{pulumi_command('up', stack)}"
        )
        for volume in self.volumes:
            self.terminal.say(f"Still there, with the old data: kubectl delete pv {volume}")

    def _wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        # The operator creates instances as long as there is a Cluster, so the Cluster goes before everything else.
        while (self.engine == CLOUDNATIVE_PG and cluster_of(self.cluster)) or _claims(self.cluster, self.engine):
            self.cluster.interrupts.check()
            if time.monotonic() > deadline:
                raise ClusterError(f"it has not been deleted; see: kubectl -n {self.cluster.namespace} get pods,pvc")
            time.sleep(1)


def _claims(cluster: Cluster, engine: Engine) -> list[Any]:
    if engine != CLOUDNATIVE_PG:
        return list(claims_of(cluster).values())
    labelled = f"{cloudnative_pg.CLUSTER_LABEL}={cluster.names.database}"
    return list(
        cluster.core.list_namespaced_persistent_volume_claim(
            cluster.namespace, label_selector=labelled, _request_timeout=REQUEST_TIMEOUT
        ).items
    )


def _is_retained(cluster: Cluster, volume: str) -> bool:
    try:
        found = cluster.core.read_persistent_volume(volume, _request_timeout=REQUEST_TIMEOUT)
    except ApiException as error:
        if error.status != _FORBIDDEN:
            raise
        return False  # dev's volumes, which its user need not be able to read, are deleted with their claims
    return bool(found.spec.persistent_volume_reclaim_policy == "Retain")
