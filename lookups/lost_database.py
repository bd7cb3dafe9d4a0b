"""What the cluster still has of a database whose claim or Cluster is gone, and the ways out."""

from __future__ import annotations

import re
from typing import Final

from lookups.cluster import Cluster, ForbiddenError, Object
from lookups.moving import Record
from settings import Settings
from settings.commands import pulumi_command

UNKNOWN_CLAIM: Final = "unknown"
"""Stands for the claim in a state from a release before the output `database_claim`."""
RETAIN: Final = '{"spec": {"persistentVolumeReclaimPolicy": "Retain"}}'
PAGE: Final = "docs/runbook/backups.md, The database's claim is gone"


def volumes_of(settings: Settings, cluster: Cluster, claims: str) -> list[Object]:
    """The volumes that belonged to the database's claims, or are reserved for one; `claims` is a regular expression."""
    try:
        volumes = cluster.list("v1", "persistentvolumes")
    except ForbiddenError:
        return []  # then only the stack's outputs decide
    references = [(volume, volume["spec"].get("claimRef") or {}) for volume in volumes]
    return [
        volume
        for volume, claim in references
        if claim.get("namespace") == settings.namespace and re.fullmatch(claims, claim.get("name", ""))
    ]


def newest(retained: list[Object], *, kind: str = Record.kind) -> Record | None:
    """The claim to which the newest of these volumes belonged; None if there is no volume."""
    held = [one for one in retained if one["spec"]["claimRef"].get("uid")]  # the others are reserved, but never used
    if not held:
        return None
    volume = max(held, key=lambda one: str(one["metadata"]["creationTimestamp"]))
    return Record(uid=volume["spec"]["claimRef"]["uid"], volume=volume["metadata"]["name"], kind=kind)


def gone(settings: Settings, lost: Record) -> str:
    """The problem that a claim or Cluster is gone."""
    of = "as the last `up` of an earlier release left it" if lost.uid == UNKNOWN_CLAIM else lost.uid
    volume = f", on the volume {lost.volume}" if lost.volume else ""
    return (
        f"The database's {lost.what(settings.names)} ({of}{volume}) is gone from {settings.namespace}, and "
        f"`up` would make an empty database in its place. {ways(settings, lost)}"
    )


def misplaced(volume: Object, claim: str) -> str:
    """The problem that a volume is reserved for another claim than the one that `up` would create."""
    name, reserved = volume["metadata"]["name"], volume["spec"]["claimRef"]["name"]
    change = f'{{"spec": {{"claimRef": {{"name": "{claim}"}}}}}}'
    return (
        f"The volume {name} is reserved for the claim {reserved}, and `up` would make an empty one for {claim}. "
        "Delete the volume, if its data is no longer needed, or reserve it for that claim:\n"
        f"    kubectl patch pv {name} -p '{change}'"
    )


def ways(settings: Settings, lost: Record) -> str:
    """What to do about a database that is gone."""
    key = f"{settings.project}:database.lostClaim"
    given_up = pulumi_command("config set", settings.stack, "--path", key, lost.uid)
    return (
        f"If a destroy was interrupted, finish it: {pulumi_command('destroy', settings.stack)}. Otherwise, if its "
        f"volume still exists, use that again ({PAGE}). If the data is no longer needed, or you will restore a backup "
        "with `ops restore`, confirm that, and run this again:\n"
        f"    {given_up}"
    )


def rescue(claim: Object) -> str:
    """The problem that a claim of the database is being deleted."""
    meta = claim["metadata"]
    held = ", ".join(meta.get("finalizers") or []) or "nothing"
    return (
        f"The database's claim {meta['name']} is being deleted, which cannot be undone: it is gone once nothing "
        f"holds it (now: {held}; a pod that uses it counts), and its volume may go with it. Keep the volume, take a "
        f"backup while the database still runs, and use the volume again once the claim is gone ({PAGE}):\n"
        f"    kubectl patch pv {claim['spec'].get('volumeName', '<volume>')} -p '{RETAIN}'"
    )
