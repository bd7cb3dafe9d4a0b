"""Compares the stack's existing volumes with the stack file, before the first resource.

A refresh drops a missing claim from the state, and the program would then create a new, empty one and report success.
Two sources that outlive the namespace tell what was there before: the stack's own outputs from the last `up`, and a
retained volume in the cluster.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pulumi

from components.cloudnative_pg import API, CLUSTER_LABEL, KIND, RESOURCE, instances
from components.database import CONTAINER
from components.database_claims import UPGRADED_FROM
from lookups import cluster_update, database_claims, lost_database, moving, storage_classes, volume_claims
from lookups.cluster import Cluster, ForbiddenError, Object
from lookups.database_claims import FoundClaims, candidates
from lookups.live_database import LiveDatabase
from lookups.lost_database import UNKNOWN_CLAIM
from lookups.moving import Record
from settings import Settings
from settings.database import DatabaseSettings
from settings.images import c_library, debian_release
from settings.ownership import PART_OF

OUTPUT: Final = "database_claim"
"""Stack output that records what holds the database, and for which image.

A claim: `uid`, `volume` once bound, `image`. Or an object of another `kind`: its `uid`.
"""

_READY_ONCE: Final = "database_host"
"""Stack output of every release; it is known once the database has been ready."""
_ENGINES: Final = "docs/database-engines.md"
_MOVING: Final = "docs/runbook/backups.md, The backups move to another volume"
_ELSEWHERE: Final = "docs/runbook/cluster.md, The data is elsewhere on its volume"


class VolumesError(pulumi.RunError):
    """`up` cannot apply the stack file without losing data, or not at all; the message lists every problem."""


def check_volumes(settings: Settings, cluster: Cluster, record: Record | None, placed: FoundClaims) -> None:
    """Raises `VolumesError`, before anything is created, with everything that is wrong."""
    if problems := list(find_problems(settings, cluster, record, placed)):
        listed = "\n\n".join(f"  {problem}" for problem in problems)
        raise VolumesError(
            f"The volumes of stack {settings.stack!r} are not as this needs them. Nothing was created or changed.\n\n"
            f"{listed}"
        )


def recorded(outputs: Mapping[str, Any]) -> Record | None:
    """What the stack's outputs from the last `up` say; None if no `up` has finished."""
    if (claim := outputs.get(OUTPUT)) is not None:
        kind = claim.get("kind") or "claim"
        return Record(
            uid=claim["uid"], volume=claim.get("volume"), image=claim.get("image"), kind=kind, name=claim.get("name")
        )
    return Record(uid=UNKNOWN_CLAIM, volume=None) if outputs.get(_READY_ONCE) is not None else None


def find_problems(settings: Settings, cluster: Cluster, record: Record | None, placed: FoundClaims) -> Iterator[str]:
    """Problems, each with its fix. `record` is what the last `up` recorded, and `placed` what the cluster has."""
    namespace = cluster.get("v1", "namespaces", settings.namespace)
    if namespace is not None and (held := _is_held(namespace)):
        yield held
        yield from map(lost_database.rescue, _held_claims(settings, cluster))
        return
    database, name = settings.database, placed.claims.current
    claim = _claim(settings, cluster, name)
    live = _live_cluster(settings, cluster)
    if database is None:
        if any(_is_ours(settings, one) for one in (claim, live)):
            yield _switched_off(settings, "statefulset" if claim else RESOURCE, claim)
    elif database.beside is None and (claim if database.is_cluster else live) is not None:
        yield moving.other_engine(settings, database, LiveDatabase.of(namespace))
    else:
        record = moving.latest(record, LiveDatabase.of(namespace))
        yield from _of_engine(settings, database, cluster, record, live if database.is_cluster else claim, name=name)
        yield from database_claims.find_problems(settings, database, cluster, placed)
        if database.beside is not None:
            found, other = (claim, live) if database.beside.is_cluster else (live, claim)
            yield from moving.find_problems(settings, database, live=found or record, beside=other)
            if other is not None:
                yield from _of_engine(settings, database.beside, cluster, None, other, name=name)
    backups = _claim(settings, cluster, settings.names.backups_claim)
    if backups is not None:
        yield from _backups(settings, cluster, backups)
    elif settings.backup is not None and settings.backup.nfs is None:
        yield from storage_classes.find_problems(cluster, "backup", settings.backup.storage_class)


def _of_engine(
    settings: Settings,
    database: DatabaseSettings,
    cluster: Cluster,
    record: Record | None,
    found: Object | None,
    *,
    name: str,
) -> Iterator[str]:
    """Problems with the database of one engine; `found` is what holds it, a Cluster or a claim with that name."""
    if database.is_cluster:
        yield from _database_cluster(settings, database, cluster, record, found)
        return
    yield from _database(settings, database, cluster, record, found, name=name)
    if found is not None:
        if volume_claims.is_unbound(found):
            yield from volume_claims.still_empty(settings, found, "database", database, f"pvc {name}")
            return
        yield from volume_claims.fixed_class(found, "database", database.storage_class)
        yield from volume_claims.fixed_fields(found, f"Move the data to a new claim with a dump ({_ELSEWHERE})")
        yield from volume_claims.changed_size(cluster, found, "database", database.size)
        if not found["metadata"].get("deletionTimestamp"):
            yield from _sort_order(settings, database, cluster, record)


def _claim(settings: Settings, cluster: Cluster, name: str) -> Object | None:
    return cluster.get("v1", "persistentvolumeclaims", name, settings.namespace)


def _is_ours(settings: Settings, live: Object | None) -> bool:
    return live is not None and (live["metadata"].get("labels") or {}).get(PART_OF) == settings.project


def _switched_off(settings: Settings, resource: str, claim: Object | None) -> str:
    name, delete = settings.names.database, f"    kubectl -n {settings.namespace} delete"
    what = f"claim {claim['metadata']['name']}" if claim else f"Cluster {name}"
    both = f"{delete} {resource} {name}" + (f"\n{delete} pvc {claim['metadata']['name']}" if claim else "")
    return (
        f"database is switched off, and the {what} with all data would be deleted. Remove `enabled: false`; or, "
        f"if the data is no longer needed, take a last backup, delete it by hand, and run this again:\n{both}"
    )


def _database(
    settings: Settings,
    database: DatabaseSettings,
    cluster: Cluster,
    record: Record | None,
    claim: Object | None,
    *,
    name: str,
) -> Iterator[str]:
    """Problems with a StatefulSet's claim, which has or is to get that name."""
    accepted = database.lost_claim
    if claim is None:
        volumes = lost_database.volumes_of(settings, cluster, "|".join(candidates(settings.names)))
        reserved = {one["spec"]["claimRef"]["name"]: one for one in volumes if not one["spec"]["claimRef"].get("uid")}
        if name in reserved:
            return  # it has the old data, or what somebody put there
        if record is None and reserved:
            yield from (lost_database.misplaced(volume, name) for volume in reserved.values())
        elif (lost := record or lost_database.newest(volumes)) is not None and lost.uid != accepted:
            yield lost_database.gone(settings, lost)
        else:
            yield from storage_classes.find_problems(cluster, "database", database.storage_class)
    elif claim["metadata"].get("deletionTimestamp"):
        yield lost_database.rescue(claim)
    elif (claim.get("status") or {}).get("phase") == "Lost":
        yield (
            f"The claim {name} is Lost: its volume {claim['spec'].get('volumeName')} was deleted from the cluster, and "
            "no pod can mount it. Delete StatefulSet and claim, which loses nothing more, and run this again: it then "
            f"says how to restore ({lost_database.PAGE}):\n    kubectl -n {settings.namespace} delete "
            f"--ignore-not-found statefulset/{settings.names.database} pvc/{name}"
        )
    elif record is not None and record.uid not in {
        UNKNOWN_CLAIM,
        claim["metadata"]["uid"],
        (claim["metadata"].get("annotations") or {}).get(UPGRADED_FROM),
        accepted,
    }:
        volume = claim["spec"].get("volumeName")
        if volume is None or volume != record.volume:
            yield (
                f"The claim {name} is not the database's. This one is {claim['metadata']['uid']}, "
                f"on {volume or 'no volume yet'}; the last `up` left {record.uid}, on "
                f"{record.volume or 'no volume yet'}. Somebody has deleted the old one and created this one. "
                f"{lost_database.ways(settings, record)}"
            )


def _live_cluster(settings: Settings, cluster: Cluster) -> Object | None:
    try:
        return cluster.get(API, RESOURCE, settings.names.database, settings.namespace)
    except ForbiddenError:
        if settings.database_of_operator:
            raise
        return None  # a user without CloudNativePG has no permission to read its objects


def _held_claims(settings: Settings, cluster: Cluster) -> list[Object]:
    ours = [_claim(settings, cluster, name) for name in candidates(settings.names)]
    return [*(claim for claim in ours if claim), *_claims_of_cluster(settings, cluster)]


def _claims_of_cluster(settings: Settings, cluster: Cluster) -> list[Object]:
    claims = cluster.list("v1", "persistentvolumeclaims", settings.namespace)
    return [
        one for one in claims if (one["metadata"].get("labels") or {}).get(CLUSTER_LABEL) == settings.names.database
    ]


def _database_cluster(
    settings: Settings, database: DatabaseSettings, cluster: Cluster, record: Record | None, live: Object | None
) -> Iterator[str]:
    claims, name = _claims_of_cluster(settings, cluster), settings.names.database
    accepted = database.lost_claim
    if live is None:
        volumes = lost_database.volumes_of(settings, cluster, instances(settings.names))
        lost = record or lost_database.newest(volumes, kind=KIND)
        if lost is not None and lost.uid != accepted:
            yield lost_database.gone(settings, lost)
        else:
            yield from storage_classes.find_problems(cluster, "database", database.storage_class)
        for claim in claims:
            yield (
                f"The claim {claim['metadata']['name']} belonged to a Cluster {name} that is gone, and the operator "
                "would not use it again. Copy its data elsewhere, and delete it by hand"
            )
        return
    meta = live["metadata"]
    if meta.get("deletionTimestamp"):
        yield (
            f"The Cluster {name} is being deleted, which cannot be undone, and takes its instances and claims "
            "with it. Keep the volumes, and take a backup while the database still runs:\n"
            f"    kubectl -n {settings.namespace} get pvc -l {CLUSTER_LABEL}={name}\n"
            f"    kubectl patch pv <each volume> -p '{lost_database.RETAIN}'"
        )
    elif record is None and (meta.get("labels") or {}).get(PART_OF) != settings.names.project:
        yield (
            f"There is a Cluster {name} in {settings.namespace} that this program did not create, and it does not take "
            f"over existing ones ({_ENGINES}). Take a dump of it, delete it, and restore the dump after `up`"
        )
    elif record is not None and record.uid not in {meta["uid"], accepted, UNKNOWN_CLAIM}:
        yield (
            f"The Cluster {name} is not the database's. This one is {meta['uid']}; the last `up` left the "
            f"{record.what(settings.names)}, {record.uid}. Somebody has deleted the old one and created this one. "
            f"{lost_database.ways(settings, record)}"
        )
    else:
        yield from cluster_update.find_problems(settings, database, live)
    if claims and all(map(volume_claims.is_unbound, claims)):
        yield from volume_claims.still_empty(settings, claims[0], "database", database, f"{RESOURCE} {name}")
        return
    for claim in claims:
        yield from volume_claims.fixed_class(claim, "database", database.storage_class)
        yield from volume_claims.changed_size(cluster, claim, "database", database.size)


def _is_held(namespace: Object) -> str | None:
    """Why a namespace is still being deleted, in its controller's words; None if it is not being deleted."""
    meta = namespace["metadata"]
    if not meta.get("deletionTimestamp"):
        return None
    return (
        f"The namespace {meta['name']} is being deleted, since {meta['deletionTimestamp']}, and takes nothing new. "
        f"Wait until it is gone. {holders(namespace)}"
    )


def holders(namespace: Object) -> str:
    """What blocks the deletion of a namespace, one line each, from the conditions in its status."""
    conditions = (namespace.get("status") or {}).get("conditions") or []
    said = [f"\n    {one['type']}: {one.get('message')}" for one in conditions if one.get("status") == "True"]
    return f"It is held by:{''.join(said)}" if said else "Its content is still being deleted."


def _sort_order(
    settings: Settings, database: DatabaseSettings, cluster: Cluster, record: Record | None
) -> Iterator[str]:
    """Problems if the image sorts text differently from the image that wrote the database's indexes."""
    found = cluster.get("apps/v1", "statefulsets", settings.names.database, settings.namespace)
    containers = found["spec"]["template"]["spec"]["containers"] if found else []
    # If somebody has deleted the StatefulSet, the state still knows its image.
    live = next((one["image"] for one in containers if one["name"] == CONTAINER), record.image if record else None)
    wanted = database.image
    if live is not None and c_library(live) != c_library(wanted):
        yield (
            f"database.image is {wanted}, which sorts text by {c_library(wanted)}; the database was written by {live}, "
            f"which sorts by {c_library(live)}. Indexes keep that order: PostgreSQL would start, no longer find rows "
            "that are there, and let duplicates in. Set it back, or move the data by a dump "
            "(docs/runbook/database.md, The database gets an image with another C library)"
        )
    elif live not in {None, wanted} and c_library(wanted).startswith("glibc") and debian_release(wanted) is None:
        yield (
            f"database.image is {wanted}, whose tag names no release of Debian: such tags move to the next one, which "
            "sorts text differently, and indexes keep their order. Name what runs, as in postgres:18-trixie:\n"
            f"    kubectl -n {settings.namespace} exec {settings.names.database}-0 -- cat /etc/os-release"
        )


def _backups(settings: Settings, cluster: Cluster, claim: Object) -> Iterator[str]:
    meta, backup, names = claim["metadata"], settings.backup, settings.names
    # Kubernetes keeps a claim that a pod names, even if the pod has ended (pvc_protection_controller.go).
    pods = f"-l 'app in ({names.backup}, {names.drill}, {names.offsite})'"
    release = f"kubectl -n {settings.namespace} delete pods {pods}"
    delete = f"{release}\n    kubectl -n {settings.namespace} delete pvc {meta['name']}"
    by_hand = f"Copy its data elsewhere, delete the claim by hand, and run this again ({_MOVING}):\n    {delete}"
    if meta.get("deletionTimestamp"):
        yield (
            f"The backups' claim {meta['name']} is being deleted: wait until it is gone, and run this again. Pods hold "
            f"it, also those that have ended:\n    {release}"
        )
    elif backup is None:
        if (meta.get("labels") or {}).get(PART_OF) == settings.project:
            yield f"backup is switched off, and the claim {meta['name']} with the backups would be deleted. {by_hand}"
    elif _is_export(claim) != (backup.nfs is not None):
        to = (
            f"{backup.nfs.server}:{backup.nfs.path}"
            if backup.nfs
            else f"a volume of the class {backup.storage_class!r}"
        )
        yield f"backup.nfs: with a move to {to}, the claim {meta['name']} with the backups would be deleted. {by_hand}"
    elif backup.nfs is None and volume_claims.is_unbound(claim):
        yield from volume_claims.still_empty(settings, claim, "backup", backup, f"pvc {meta['name']}")
    elif backup.nfs is None:
        yield from volume_claims.fixed_class(claim, "backup", backup.storage_class)
        yield from volume_claims.fixed_fields(claim, by_hand)
        yield from volume_claims.changed_size(cluster, claim, "backup", backup.size)
    else:
        yield from volume_claims.changed_size(cluster, claim, "backup", backup.size)
        name = names.backups_export
        export = (cluster.get("v1", "persistentvolumes", name) or {"spec": {}})["spec"].get("nfs")
        wanted = {"server": backup.nfs.server, "path": backup.nfs.path}
        if export and {key: export.get(key) for key in wanted} != wanted:
            there = f"{export.get('server')}:{export.get('path')}"
            yield f"backup.nfs: the volume {name} is {there}, for good. {by_hand}\n    kubectl delete pv {name}"


def _is_export(claim: Object) -> bool:
    return not claim["spec"].get("storageClassName")
