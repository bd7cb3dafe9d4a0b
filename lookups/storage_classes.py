"""Checks that the cluster can create and enlarge a volume of the class that the stack file names."""

from __future__ import annotations

from collections.abc import Iterator

import pulumi

from lookups.cluster import Cluster, ForbiddenError


def find_problems(cluster: Cluster, section: str, name: str) -> Iterator[str]:
    """Problems with `<section>.storageClass` of a new claim: without the class, the claim would wait for ever.

    A class with volumes that were created by hand need not exist itself.
    """
    try:
        if cluster.get("storage.k8s.io/v1", "storageclasses", name) is not None:
            return
        made = [one["spec"].get("storageClassName") for one in cluster.list("v1", "persistentvolumes")]
    except ForbiddenError as error:
        # The plugin reads the class to know what to wait for (pulumi-kubernetes, pvcBindMode in await/awaiters.go).
        pulumi.log.warn(
            f"Cannot check whether the cluster has the storage class {name}. {error}\n\nIf its volumes wait for their "
            "first pod (WaitForFirstConsumer), as local-path's do, `up` also needs this permission: without it, it "
            "waits five minutes for the claim, and fails."
        )
        return
    if name not in made:
        yield (
            f"{section}.storageClass is {name!r}, but the cluster has no such class, so the claim would never get a "
            f"volume.{_others(cluster)} Correct {section}.storageClass, or create the class"
        )


def lets_grow(cluster: Cluster, name: str | None) -> bool:
    """Whether a claim of the class may be enlarged."""
    if not name:
        return False  # a volume for an export, created by hand or by this program
    try:
        found = cluster.get("storage.k8s.io/v1", "storageclasses", name)
    except ForbiddenError:
        return True  # the API server decides
    return found is not None and found.get("allowVolumeExpansion") is True


def _others(cluster: Cluster) -> str:
    try:
        classes = sorted(one["metadata"]["name"] for one in cluster.list("storage.k8s.io/v1", "storageclasses"))
    except ForbiddenError:
        return ""
    return f" It has: {', '.join(classes) or 'none'}."
