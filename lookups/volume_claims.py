"""What Kubernetes never changes about a claim that exists, and when it makes its volume larger or smaller."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from components.cloudnative_pg import CLUSTER_LABEL
from lookups import storage_classes
from lookups.cluster import Cluster, Object
from settings import Settings
from settings.backup import BackupSettings
from settings.database import DatabaseSettings
from settings.quantities import Quantity


def fixed_class(claim: Object, section: str, storage_class: str) -> Iterator[str]:
    """A problem if the claim has another storage class than the section asks for."""
    live = claim["spec"].get("storageClassName")
    if live != storage_class:
        yield (
            f"{section}.storageClass is {storage_class!r}; the claim {claim['metadata']['name']} has {live!r}. "
            "Kubernetes never changes it: a volume of another class is a new one, without the data. Set it back"
        )


def is_unbound(claim: Object) -> bool:
    """Whether the claim still waits for its first volume, and so holds no data."""
    return not claim["spec"].get("volumeName") and not claim["metadata"].get("deletionTimestamp")


def still_empty(
    settings: Settings, claim: Object, section: str, wanted: DatabaseSettings | BackupSettings, owner: str
) -> Iterator[str]:
    """Kubernetes changes neither class nor size of a claim without a volume (ValidatePersistentVolumeClaimUpdate).

    `owner` is what to delete, as kubectl names it: the claim, or the Cluster that created it.
    """
    spec, name = claim["spec"], claim["metadata"]["name"]
    live, size = spec.get("storageClassName"), Quantity(spec["resources"]["requests"]["storage"])
    if live != wanted.storage_class or size.amount != wanted.size.amount:
        yield (
            f"{section} asks for {wanted.size} of the class {wanted.storage_class!r}; the claim {name} still waits for "
            f"{size} of the class {live!r}, and Kubernetes changes a claim only once it has its volume. There is no "
            f"data yet: delete it, and run this again:\n    kubectl -n {settings.namespace} delete {owner}"
        )


def fixed_fields(claim: Object, way: str) -> Iterator[str]:
    """Other fields that Kubernetes never changes, for which the provider deletes a claim made by hand (forceNew)."""
    wanted: Mapping[str, Any] = {"accessModes": ["ReadWriteOnce"], "selector": None}
    for name, value in wanted.items():
        if (live := claim["spec"].get(name, value)) != value:
            yield (
                f"The claim {claim['metadata']['name']} has the {name} {live}, and the program's has "
                f"{value or 'none'}. Kubernetes never changes it: the claim would be deleted with its data. {way}"
            )


def changed_size(cluster: Cluster, claim: Object, section: str, size: Quantity) -> Iterator[str]:
    """A problem if the claim's volume cannot get the size that the section asks for."""
    live, has = claim["spec"]["resources"]["requests"]["storage"], _still_has(claim)
    what = f"{section}.size is {size}, and the claim {claim['metadata']['name']} has"
    if size.amount < Quantity(live).amount and has is None:
        yield f"{what} {live} already. Kubernetes never shrinks a volume: set {section}.size to {live} or more"
    elif has is not None and size.amount <= Quantity(has).amount:
        yield f"{what} {has} and waits for {live}, which can be lowered to more than {has}: set {section}.size to that"
    elif size.amount > Quantity(live).amount and not storage_classes.lets_grow(
        cluster, name := claim["spec"].get("storageClassName")
    ):
        yield f"{what} {live}. Its storage class {name!r} lets no volume grow (allowVolumeExpansion): set it back"


def _still_has(claim: Object) -> str | None:
    """Size of a volume that has not become larger yet, perhaps because the storage lacks the room; None of any other.

    Kubernetes takes such a request back since 1.32 (ValidatePersistentVolumeClaimUpdate), CloudNativePG never.
    """
    has = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    if has is None or CLUSTER_LABEL in (claim["metadata"].get("labels") or {}):
        return None
    waits = Quantity(has).amount < Quantity(claim["spec"]["resources"]["requests"]["storage"]).amount
    return str(has) if waits else None
