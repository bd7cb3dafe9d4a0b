"""A volume that outlives its claim, whatever its storage class says.

A claim that is deleted takes its volume with it where the class says `Delete`, as Longhorn's does, and one
`kubectl delete namespace` deletes every claim. The reclaim policy of the volume itself decides, and can be changed.

A Pulumi dynamic resource, because the volume's name is known only once the claim is bound, and pulumi_kubernetes
refuses a PersistentVolumePatch without a name, in the preview too (provider.go, Check).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import pulumi
from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from lookups.cluster import api_client

RETAIN: Final = "Retain"
_INPUTS: Final = ("context", "namespace", "claim")


class VolumeError(Exception):
    """The volume's reclaim policy could not be set; the message says why and what to do."""


class _Retaining(ResourceProvider):
    """Holds nothing: what is pickled into the state is the class's name."""

    serialize_as_secret_always = False

    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(news).outs)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Leaves the volumes as they are: deleting them is left to the user."""


class _RetainedVolumeProvider(_Retaining):
    """The volume of one claim."""

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        elsewhere = [name for name in ("namespace", "claim") if olds.get(name) != news.get(name)]
        # Not bound when it was made, or somebody has changed the policy since.
        changes = bool(elsewhere) or olds.get("policy") != RETAIN or olds.get("context") != news.get("context")
        return DiffResult(changes=changes, replaces=elsewhere, delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"{props['namespace']}/{props['claim']}", _retained(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        core = _core(props)
        volume = _volume(core, props)
        if volume is None:
            return ReadResult("", {})
        return ReadResult(id_, {**_inputs(props), "volume": volume, "policy": _policy(core, volume)})


def _retained(props: Mapping[str, Any]) -> dict[str, Any]:
    core = _core(props)
    volume = _volume(core, props)
    if not volume:  # a class that waits for the first pod: the next `up` sees it
        return {**_inputs(props), "volume": "", "policy": ""}
    _retain(core, volume, props["claim"])
    return {**_inputs(props), "volume": volume, "policy": RETAIN}


def _retain(core: Any, volume: str, claim: str) -> None:
    try:
        core.patch_persistent_volume(volume, {"spec": {"persistentVolumeReclaimPolicy": RETAIN}})
    except ApiException as error:
        raise VolumeError(
            f"the volume {volume} cannot be made to outlive its claim {claim}: {error.status} {error.reason}. "
            "The kubeconfig's user needs get and patch on persistentvolumes, which belong to the cluster (README)"
        ) from None


def _core(props: Mapping[str, Any]) -> Any:
    return CoreV1Api(api_client(props["context"]))


def _volume(core: Any, props: Mapping[str, Any]) -> str | None:
    """Name of the claim's volume, empty where it has none yet; None where there is no such claim."""
    try:
        claim = core.read_namespaced_persistent_volume_claim(props["claim"], props["namespace"])
    except ApiException as error:
        if error.status == 404:
            return None
        raise
    return claim.spec.volume_name or ""


def _policy(core: Any, volume: str) -> str:
    if not volume:
        return ""
    try:
        return str(core.read_persistent_volume(volume).spec.persistent_volume_reclaim_policy)
    except ApiException as error:
        if error.status in {403, 404}:
            return ""  # the next `up` tries, and says what is missing
        raise


def _inputs(props: Mapping[str, Any]) -> dict[str, Any]:
    return {name: props[name] for name in _INPUTS}


class RetainedVolume(Resource, module="volume", name="RetainedVolume"):
    """The volume of `claim` is retained. The kubeconfig's user needs get and patch on persistentvolumes."""

    volume: pulumi.Output[str]
    """Its name; empty until the claim is bound."""

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

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        core = _core(props)
        policies = {volume: _policy(core, volume) for volume in _volumes(core, props).values()}
        return ReadResult(id_, {**{name: props[name] for name in _SEVERAL}, "policies": policies})


def _all_retained(props: Mapping[str, Any]) -> dict[str, Any]:
    core = _core(props)
    volumes = _volumes(core, props)
    for claim, volume in volumes.items():
        _retain(core, volume, claim)
    return {**{name: props[name] for name in _SEVERAL}, "policies": dict.fromkeys(volumes.values(), RETAIN)}


def _volumes(core: Any, props: Mapping[str, Any]) -> dict[str, str]:
    """The volumes of the claims, by claim."""
    claims = core.list_namespaced_persistent_volume_claim(props["namespace"], label_selector=props["claims"]).items
    return {one.metadata.name: one.spec.volume_name for one in claims if one.spec.volume_name}


class RetainedVolumes(Resource, module="volume", name="RetainedVolumes"):
    """Retains the volumes of all claims that the label selector `claims` matches.

    One that comes later is seen by the next `up`.
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
