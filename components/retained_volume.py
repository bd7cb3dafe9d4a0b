"""A volume that outlives its claim, whatever its storage class says.

Deleting a claim deletes its volume if the class says `Delete`, as Longhorn's does, and one `kubectl delete namespace`
deletes every claim. What counts is the volume's own reclaim policy, and that can be changed.

A Pulumi dynamic resource, because the volume's name is known only once the claim is bound, and pulumi_kubernetes
refuses a PersistentVolumePatch without a name, even in a preview (provider.go, Check).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from lookups.cluster import Cluster, ClusterError, ForbiddenError
from lookups.cluster_client import api_client
from lookups.credentials import CredentialsError

RETAIN: Final = "Retain"
_INPUTS: Final = ("context", "namespace", "claim")


class VolumeError(Exception):
    """The volume's reclaim policy could not be set; the message says why and what to do."""


class _Retaining(ResourceProvider):
    """Has no data: pickling records only the name of the class in the state."""

    serialize_as_secret_always = False

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        try:
            return self._read(id_, props)
        except CredentialsError:
            # The kubeconfig no longer has the recorded context. The program names the one that it has, and `diff` sees
            # the difference; an error here would stop even `pulumi up --run-program` for ever.
            return ReadResult(id_, props)

    def _read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """What the cluster has now; each kind of resource has its own. Raises `CredentialsError`."""
        raise NotImplementedError

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(news).outs)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Leaves the volumes as they are: deleting them is left to the user."""


class _RetainedVolumeProvider(_Retaining):
    """The volume of one claim."""

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        elsewhere = [name for name in ("namespace", "claim") if olds.get(name) != news.get(name)]
        # The claim was not bound when this was created, or somebody has changed the policy since.
        changes = bool(elsewhere) or olds.get("policy") != RETAIN or olds.get("context") != news.get("context")
        return DiffResult(changes=changes, replaces=elsewhere, delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['namespace']}/{props['claim']}", _retained(props))

    def _read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        with _asked(props, props["claim"]) as cluster:
            volume = _volume(cluster, props)
            if volume is None:
                return ReadResult("", {})
            return ReadResult(id_, {**_inputs(props), "volume": volume, "policy": _policy(cluster, volume)})


@contextmanager
def _asked(props: Mapping[str, Any], claim: str) -> Iterator[Cluster]:
    """The cluster of the context; turns its refusals into a `VolumeError` about the claim or claims."""
    try:
        yield Cluster(props["context"], api_client(props["context"]))
    except ClusterError as error:
        raise VolumeError(
            f"the volume of the claim {claim} cannot be made to outlive it: {error.reason}. "
            "The kubeconfig's user needs get and patch on persistentvolumes, which belong to the cluster (README)"
        ) from None


def _retained(props: Mapping[str, Any]) -> dict[str, Any]:
    with _asked(props, props["claim"]) as cluster:
        volume = _volume(cluster, props)
        if not volume:  # the class waits for the first pod; the next `up` retains the volume
            return {**_inputs(props), "volume": "", "policy": ""}
        _retain(cluster, volume)
    return {**_inputs(props), "volume": volume, "policy": RETAIN}


def _retain(cluster: Cluster, volume: str) -> None:
    cluster.patch("v1", "persistentvolumes", volume, {"spec": {"persistentVolumeReclaimPolicy": RETAIN}})


def _volume(cluster: Cluster, props: Mapping[str, Any]) -> str | None:
    """Name of the claim's volume, empty if it has none yet; None if the claim does not exist."""
    claim = cluster.get("v1", "persistentvolumeclaims", props["claim"], props["namespace"])
    return None if claim is None else claim["spec"].get("volumeName", "")


def _policy(cluster: Cluster, volume: str) -> str:
    if not volume:
        return ""
    try:
        found = cluster.get("v1", "persistentvolumes", volume)
    except ForbiddenError:
        return ""  # the next `up` tries again, and reports what is missing
    return str(found["spec"]["persistentVolumeReclaimPolicy"]) if found else ""


def _inputs(props: Mapping[str, Any]) -> dict[str, Any]:
    return {name: props[name] for name in _INPUTS}


class RetainedVolume(Resource, module="volume", name="RetainedVolume"):
    """Retains the volume of `claim`. The kubeconfig's user needs get and patch on persistentvolumes."""

    volume: pulumi.Output[str]
    """The volume's name; empty until the claim is bound."""

    def __init__(
        self,
        name: str,
        *,
        context: str,
        namespace: pulumi.Input[str],
        claim: pulumi.Input[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {"context": context, "namespace": namespace, "claim": claim, "volume": None, "policy": None}
        super().__init__(_RetainedVolumeProvider(), name, props, opts)


_SEVERAL: Final = ("context", "namespace", "claims")


class _RetainedVolumesProvider(_Retaining):
    """The volumes of all claims with a label; the set changes as instances come and go."""

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        elsewhere = [name for name in _SEVERAL[1:] if olds.get(name) != news.get(name)]
        others = any(policy != RETAIN for policy in (olds.get("policies") or {}).values())
        changes = bool(elsewhere) or others or olds.get("context") != news.get("context")
        return DiffResult(changes=changes, replaces=elsewhere, delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['namespace']}/{props['claims']}", _all_retained(props))

    def _read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        with _asked(props, props["claims"]) as cluster:
            policies = {volume: _policy(cluster, volume) for volume in _volumes(cluster, props)}
        return ReadResult(id_, {**{name: props[name] for name in _SEVERAL}, "policies": policies})


def _all_retained(props: Mapping[str, Any]) -> dict[str, Any]:
    with _asked(props, props["claims"]) as cluster:
        volumes = _volumes(cluster, props)
        for volume in volumes:
            _retain(cluster, volume)
    return {**{name: props[name] for name in _SEVERAL}, "policies": dict.fromkeys(volumes, RETAIN)}


def _volumes(cluster: Cluster, props: Mapping[str, Any]) -> list[str]:
    """The volumes of the claims that have one."""
    claims = cluster.list("v1", "persistentvolumeclaims", props["namespace"], selector=props["claims"])
    return [one["spec"]["volumeName"] for one in claims if one["spec"].get("volumeName")]


class RetainedVolumes(Resource, module="volume", name="RetainedVolumes"):
    """Retains the volumes of all claims that the label selector `claims` matches.

    The next `up` also retains volumes that appear later.
    """

    policies: pulumi.Output[dict[str, str]]
    """Reclaim policy of each volume."""

    def __init__(
        self,
        name: str,
        *,
        context: str,
        namespace: pulumi.Input[str],
        claims: str,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {"context": context, "namespace": namespace, "claims": claims, "policies": None}
        super().__init__(_RetainedVolumesProvider(), name, props, opts)
