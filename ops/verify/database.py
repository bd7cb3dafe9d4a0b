"""The database, whichever engine runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kubernetes.dynamic.exceptions import ResourceNotFoundError

from components import cloudnative_pg
from components.database_address import DatabaseAddress
from components.longhorn import DRIVER
from lookups.cluster import connect
from lookups.database_claims import mounted_claim
from lookups.operator import LEAST, find_problems
from ops.results import taken_by_superuser
from ops.verify.check import Check
from ops.verify.cluster import database_ready, has_database, lasting_volume
from ops.verify.secrets import secret_data
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from settings import Settings
from settings.cloudnative_pg import other_engine
from settings.commands import ops_command
from settings.delivery import LEAST_DAYS
from settings.names import Names

_NODE_DOWN: Final = "node-down-pod-deletion-policy"
_MOVES: Final = ("delete-both-statefulset-and-deployment-pod", "delete-statefulset-pod")


def ready(systems: Systems) -> str:
    """The server runs what it should run, and is ready."""
    return instances_ready(systems) if systems.settings.operated_database else database_ready(systems)


def volumes(systems: Systems) -> str:
    """The database's claims are bound to volumes that exist."""
    if systems.settings.operated_database:
        return _volumes_of_instances(systems)
    # An upgrade to another major version moves the database to another claim.
    mounted = mounted_claim(systems.get("apps/v1", "StatefulSet", systems.names.database))
    return lasting_volume(systems, which=_called(mounted) if mounted else lambda names: names.database_claim)


def operator(systems: Systems) -> str:
    """The operator exists, is new enough, and is available, as `up` checks, too."""
    for what, fix in find_problems(systems.settings, connect(systems.settings.cluster.context)):
        raise CheckError(what, fix)
    return f"the operator is available, {'.'.join(map(str, LEAST))} or newer"


def instances_ready(systems: Systems) -> str:
    """Every instance is ready and runs the Cluster's image, and the operator could set every role."""
    found = systems.need(cloudnative_pg.API, cloudnative_pg.KIND, systems.names.database)
    status, wanted = found.get("status") or {}, found["spec"]["instances"]
    ready, phase = status.get("readyInstances", 0), status.get("phase", "not seen by the operator yet")
    seen = f"{ready} of {wanted} instances ready, primary {status.get('currentPrimary') or 'none'}"
    describe = f"kubectl -n {systems.names.namespace} describe cluster {systems.names.database}"
    if phase != cloudnative_pg.HEALTHY or ready != wanted:
        reason = f", {status['phaseReason']}" if status.get("phaseReason") else ""
        raise CheckError(f"{seen}: {phase}{reason}", f"wait where a change is under way; else {describe}")
    if status.get("image") != found["spec"]["imageName"]:
        raise CheckError(f"{seen}, but they run {status.get('image')}", f"wait for the pods to be replaced; {describe}")
    if failed := (status.get("managedRolesStatus") or {}).get("cannotReconcile"):
        said = "; ".join(f"{role}: {', '.join(reasons)}" for role, reasons in failed.items())
        raise CheckError(f"{seen}, but roles cannot be set: {said}", describe)
    return f"{seen}, {status['image']}"


def move(systems: Systems) -> str:
    """After a move, the backups use the new database; says what to do next."""
    database, stack = systems.database, systems.settings.stack
    if not database.is_moved:
        to = other_engine(database.engine)
        return f"the data is on {database.engine}; next: {ops_command('move-database', stack, '--to', to)}"
    cron_job = systems.need("batch/v1", "CronJob", systems.names.backup)
    (container,) = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    hosts = [one.get("value") for one in container["env"] if one["name"] == "PGHOST"]
    if hosts != [DatabaseAddress.of(systems.names, database).host]:
        raise CheckError(
            f"the data was moved to {database.engine}, and backups still use the old database, which is closed",
            systems.up,
        )
    discard = ops_command("move-database", stack, "--discard")
    return f"the data was moved to {database.engine}; once the old database is no longer wanted: {discard}"


def role(systems: Systems) -> str:
    """The app's role is no superuser, as the operator or the last backup says: no check runs a command in a pod."""
    if systems.settings.operated_database:
        return _managed_role(systems)
    name, stack = systems.names.database_role, systems.settings.stack
    systems.need("apps/v1", "StatefulSet", systems.names.database)  # without a database there is no role
    superuser = taken_by_superuser(systems.list("v1", "Pod"))
    if superuser is None:  # then the check `backup` fails, or will fail
        return f"no backup has said yet whether the role {name} is a superuser"
    if superuser:
        fix = f"{ops_command('revoke-superuser', stack)}, then {ops_command('backup', stack)}"
        raise CheckError(f"the role {name} was a superuser at the last backup", fix)
    return f"the role {name} was no superuser at the last backup"


def _managed_role(systems: Systems) -> str:
    """The operator has set the role as the Cluster asks, and sets it again if somebody changes it.

    Follows its internal/management/controller/roles: a role that differs is pending, whatever the reason.
    """
    name = systems.names.database_role
    found = systems.need(cloudnative_pg.API, cloudnative_pg.KIND, systems.names.database)
    roles = (found["spec"].get("managed") or {}).get("roles") or []
    wanted = next((one for one in roles if one["name"] == name), None)
    if wanted is None or wanted.get("superuser"):
        asks = "does not name the role {0}" if wanted is None else "asks for the role {0} as a superuser"
        raise CheckError(f"the Cluster {asks.format(name)}", systems.up)
    status = found.get("status") or {}
    by_status = (status.get("managedRolesStatus") or {}).get("byStatus") or {}
    said = next((one for one, listed in by_status.items() if name in listed), "no status yet")
    if said != "reconciled":
        raise CheckError(
            f"the operator has not set the role {name}: {said}",
            "wait a minute; then the primary's log says why: kubectl -n "
            f"{systems.names.namespace} logs {status.get('currentPrimary') or '<primary>'} -c postgres",
        )
    return f"the operator keeps the role {name} without SUPERUSER"


def certificate(systems: Systems) -> str:
    """The server's certificate is far from its expiry; `up` renews it."""
    from components.server_certificate import days_left, ends  # noqa: PLC0415 - takes a fifth of a second; few need it

    pem = secret_data(systems, systems.names.database_tls).get("tls.crt", "")
    try:
        left = days_left(pem)
    except ValueError:
        raise CheckError(f"Secret {systems.names.database_tls} holds no certificate", systems.up) from None
    seen = f"the server's certificate ends on {ends(pem):%Y-%m-%d} (days left: {left})"
    if left < LEAST_DAYS:
        raise CheckError(
            f"{seen}; the minimum is {LEAST_DAYS}", f"{systems.up}, which renews it and restarts the database"
        )
    return seen


def _has_role(settings: Settings) -> bool:
    """Of a StatefulSet, only the backups tell."""
    return settings.operated_database is not None or settings.backup is not None


def _volumes_of_instances(systems: Systems) -> str:
    """Each instance has a claim that is bound to an existing volume."""
    claims = [
        one["metadata"]["name"]
        for one in systems.list("v1", "PersistentVolumeClaim")
        if (one["metadata"].get("labels") or {}).get(cloudnative_pg.CLUSTER_LABEL) == systems.names.database
    ]
    wanted = systems.need(cloudnative_pg.API, cloudnative_pg.KIND, systems.names.database)["spec"]["instances"]
    if len(claims) != wanted:
        fix = f"kubectl -n {systems.names.namespace} describe cluster {systems.names.database}"
        raise CheckError(f"{len(claims)} claims for {wanted} instances", fix)
    return "; ".join(lasting_volume(systems, which=_called(claim)) for claim in sorted(claims))


def node_loss(systems: Systems) -> str:
    """Longhorn lets the database leave a lost node; by default it waits until somebody acts.

    Longhorn deletes only pods of StatefulSets and Deployments (its kubernetes_pod_controller.go), so the check does not
    apply to CloudNativePG's instances.
    """
    name = systems.database.storage_class
    provisioner = systems.need("storage.k8s.io/v1", "StorageClass", name)["provisioner"]
    if provisioner != DRIVER:
        return f"the storage class {name} is of {provisioner}, not of Longhorn"
    try:
        found = systems.get("longhorn.io/v1beta2", "Setting", _NODE_DOWN, "longhorn-system")
    except ResourceNotFoundError:
        found = None
    value = (found or {}).get("value")
    if value not in _MOVES:
        raise CheckError(
            f"Longhorn's {_NODE_DOWN} is {value or 'not there'}: the database stays on a lost node",
            f"kubectl -n longhorn-system patch settings.longhorn.io {_NODE_DOWN} --type=merge "
            f'-p \'{{"value": "{_MOVES[0]}"}}\'',
        )
    return f"Longhorn's {_NODE_DOWN} is {value}"


def _called(claim: str) -> Callable[[Names], str]:
    return lambda _names: claim


CHECKS = (
    Check(name="database-operator", look=operator, applies=lambda settings: settings.operated_database is not None),
    Check(name="database", look=ready, applies=has_database),
    Check(
        name="database-move",
        look=move,
        applies=lambda settings: settings.database is not None and settings.database.moving_from is not None,
    ),
    Check(name="database-volume", look=volumes, applies=has_database),
    Check(
        name="node-loss",
        look=node_loss,
        applies=lambda settings: settings.database is not None and not settings.database.is_cluster,
    ),
    Check(name="database-role", look=role, applies=_has_role),
    Check(
        name="database-certificate",
        look=certificate,
        applies=lambda settings: settings.database is not None and settings.database.tls is not None,
    ),
)
