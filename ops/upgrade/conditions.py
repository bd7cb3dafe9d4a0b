"""Conditions that must hold before CloudNativePG's operator is asked to upgrade a database in place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kubernetes.client.exceptions import ApiException

from components import wal_archive
from components.cloudnative_pg import HEALTHY, OPERATOR
from lookups.database_claims import data_major
from lookups.operator import upgrades_safely
from ops.backup import cron_job
from ops.kube.cluster import REQUEST_TIMEOUT, Cluster, ClusterError, error_message, unless_gone
from ops.restore.app_stop import running_writer
from settings import Settings
from settings.commands import pulumi_command
from settings.database import DatabaseSettings
from settings.images import MAJORS, postgres_major

SCRIPT: Final = "after-upgrade.sh"
"""The one of the backups' scripts that compares the database with the backup from before the upgrade."""
_ARCHIVING: Final = "ContinuousArchiving"


def find_problems(
    cluster: Cluster, settings: Settings, database: DatabaseSettings, live: dict[str, Any], to: int
) -> Iterator[str]:
    """Everything that prevents an upgrade of the Cluster `live` to this major version, each with what to do."""
    upgrade, major = database.upgrade, data_major(live)
    if major is not None and major > to:
        yield f"the data is from PostgreSQL {major}, which no earlier version can read"
    elif to not in MAJORS:
        yield f"this program knows PostgreSQL {' and '.join(map(str, MAJORS))}, not {to}"
    elif upgrade is None or postgres_major(upgrade.image) != to:
        key = f"{settings.project}:database.upgrade"
        images = [
            pulumi_command("config set", settings.stack, "--path", f"{key}.{one}", "<image>")
            for one in ("image", "operandImage")
        ]
        yield (
            f"the stack file names no images of PostgreSQL {to} to upgrade to; the server has "
            f"{live['spec']['imageName']}. First:\n    "
            + "\n    ".join([*images, pulumi_command("up", settings.stack)])
        )
    yield from _health(cluster, live, major)
    yield from _operator(cluster, database.operator_namespace)
    if database.wal is not None:
        yield from _archive(cluster, database, live)
    yield from _backups(cluster)


def _health(cluster: Cluster, live: dict[str, Any], major: int | None) -> Iterator[str]:
    status, wanted, name = live.get("status") or {}, live["spec"]["instances"], cluster.names.database
    ready, phase = status.get("readyInstances", 0), status.get("phase", "not seen by the operator yet")
    if phase != HEALTHY or ready != wanted:
        yield (
            f"the Cluster is not healthy, {ready} of {wanted} instances are ready: {phase}; see: kubectl -n "
            f"{cluster.namespace} describe cluster {name}"
        )
    elif major is None:
        yield "the operator does not say which version the data is of (status.pgDataImageInfo)"


def _operator(cluster: Cluster, namespace: str) -> Iterator[str]:
    labels = ",".join(f"{key}={value}" for key, value in OPERATOR.items())
    try:
        found = cluster.apps.list_namespaced_deployment(
            namespace, label_selector=labels, _request_timeout=REQUEST_TIMEOUT
        ).items
    except ApiException as error:
        yield f"cannot read which operator runs in {namespace}: {error_message(error)}"
        return
    if not found:
        yield f"no operator runs in {namespace} (database.operatorNamespace)"
    for deployment in found:
        image = deployment.spec.template.spec.containers[0].image
        if not upgrades_safely(image):
            yield (
                f"the operator is {image}, which may upgrade the data before the server has stopped, and does not roll "
                "back a failed upgrade: upgrade the operator to 1.27.4, 1.28.2, 1.29 or newer"
            )


def _archive(cluster: Cluster, database: DatabaseSettings, live: dict[str, Any]) -> Iterator[str]:
    conditions = (live.get("status") or {}).get("conditions") or []
    archiving = next((one for one in conditions if one["type"] == _ARCHIVING), None)
    if archiving is None or archiving["status"] != "True":
        why = archiving["message"] if archiving else "nothing has been archived yet"
        yield f"the write-ahead log is not archived: {why}. `ops verify` says why (wal-archive)"
    store = cluster.custom_object(wal_archive.API, wal_archive.RESOURCE, cluster.names.database)
    used = ((store or {}).get("status") or {}).get("serverRecoveryWindow") or {}
    if database.upgrade is not None and database.upgrade.archive in used:
        yield (
            f"database.upgrade.archive is {database.upgrade.archive}, but the bucket already has an archive of that "
            "name: choose another one"
        )


def _backups(cluster: Cluster) -> Iterator[str]:
    try:
        cron_job(cluster, cluster.names.backup)
        if why := running_writer(cluster):  # the comparison could not know what it writes after the backup
            yield why
    except ClusterError as error:
        yield str(error)
        return
    scripts = unless_gone(
        lambda: cluster.core.read_namespaced_config_map(
            cluster.names.backup, cluster.namespace, _request_timeout=REQUEST_TIMEOUT
        )
    )
    if scripts is None or SCRIPT not in (scripts.data or {}):
        yield f"the cluster has the scripts of an earlier release: {pulumi_command('up', cluster.names.stack)}"
