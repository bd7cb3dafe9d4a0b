"""Stand-in for what moves a volume from a lost node to another: kubelets, Longhorn's attacher and Longhorn's manager.

Only for a control plane whose nodes can fail. The attach-detach controller, the taints, the evictions and the pods'
garbage collector are Kubernetes' own. Not real: nothing is mounted, and a volume is attached after `ATTACH_SECONDS`,
while Longhorn takes longer.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.resource import Resource

from components.longhorn import DRIVER

ATTACH_SECONDS: Final = 2.0
"""Seconds from the request to attach a volume until it is attached."""

_FINALIZER: Final = "external-attacher/driver-longhorn-io"  # as the external-attacher names it
_MANAGED: Final = "volumes.kubernetes.io/controller-managed-attach-detach"
"""Annotation with which a kubelet leaves attaching to the controller."""
_MOUNTED: Final = "PodReadyToStartContainers"
_MERGE: Final = "application/merge-patch+json"
_DELETED: Final = {
    "delete-statefulset-pod": {"StatefulSet"},
    "delete-deployment-pod": {"ReplicaSet"},
    "delete-both-statefulset-and-deployment-pod": {"StatefulSet", "ReplicaSet"},
}
"""Owners of the pods that Longhorn deletes on a lost node, by its setting `node-down-pod-deletion-policy`."""
_WAITING: Final = (
    "if any(.spec.volumes[]?; .persistentVolumeClaim) and"
    f' (any(.status.conditions[]?; .type == "{_MOUNTED}" and .status == "True") | not) then "waiting" else empty end'
)
"""jq: non-empty for a pod with volumes that are not attached to its node yet."""

Object = dict[str, Any]


def stages(read: str) -> str:
    """kwok's stages, changed so that no pod becomes ready before its volumes are attached to its node."""
    found = list(yaml.safe_load_all(read))
    (ready,) = (stage for stage in found if stage["metadata"]["name"] == "pod-ready")
    ready["spec"]["selector"]["matchExpressions"].append({"key": _WAITING, "operator": "DoesNotExist"})
    return yaml.safe_dump_all(found)


def write_stages(read: Path, directory: Path) -> Path:
    """Writes those stages, made from the file `read`, and returns their path."""
    made = directory / "stages-with-volumes.yaml"
    made.write_text(stages(read.read_text()))
    return made


class Attachments:
    """Each `step` does what kubelets and Longhorn would do now. It polls, because most of that takes some time."""

    watched: Sequence[Resource] = ()

    def __init__(self, cluster: DynamicClient) -> None:
        kinds = {"Pod": "v1", "Node": "v1", "PersistentVolumeClaim": "v1", "VolumeAttachment": "storage.k8s.io/v1"}
        self._kinds = {kind: cluster.resources.get(api_version=api, kind=kind) for kind, api in kinds.items()}
        self._settings = cluster.resources.get(api_version="longhorn.io/v1beta2", kind="Setting")

    def step(self) -> None:
        """Attaches and detaches volumes, reports those in use, starts pods that have theirs, and moves the others."""
        pods, nodes = self._list("Pod"), self._list("Node")
        self._attachments = self._list("VolumeAttachment")
        self._claims = {
            (one["metadata"]["namespace"], one["metadata"]["name"]): one["spec"].get("volumeName")
            for one in self._list("PersistentVolumeClaim")
        }
        alive = {node["metadata"]["name"] for node in nodes if _is_ready(node)}
        for attachment in self._attachments:
            self._attach(attachment, alive)
        for node in nodes:
            if node["metadata"]["name"] in alive:
                self._report(node, pods)
        for pod in pods:
            if pod["spec"].get("nodeName") in alive:
                self._start(pod)
            elif pod["spec"].get("nodeName"):
                self._move(pod)

    def _list(self, kind: str) -> list[Object]:
        found: list[Object] = self._kinds[kind].get().to_dict()["items"]
        return found

    def _attach(self, attachment: Object, alive: set[str]) -> None:
        """Like the external-attacher: a finalizer, and one node at a time. Detaching does not need the node."""
        kind, metadata = self._kinds["VolumeAttachment"], attachment["metadata"]
        if metadata.get("deletionTimestamp"):
            if metadata.get("finalizers"):
                kind.patch(name=metadata["name"], body={"metadata": {"finalizers": None}}, content_type=_MERGE)
            return
        if not metadata.get("finalizers"):
            kind.patch(name=metadata["name"], body={"metadata": {"finalizers": [_FINALIZER]}}, content_type=_MERGE)
        if (attachment.get("status") or {}).get("attached") or attachment["spec"]["nodeName"] not in alive:
            return
        elsewhere = [
            other
            for other in self._attachments
            if other["metadata"]["name"] != metadata["name"]
            and _volume(other) == _volume(attachment)
            and (other.get("status") or {}).get("attached")
        ]
        if not elsewhere and _seconds_since(metadata["creationTimestamp"]) >= ATTACH_SECONDS:
            kind.status.patch(name=metadata["name"], body={"status": {"attached": True}}, content_type=_MERGE)

    def _report(self, node: Object, pods: list[Object]) -> None:
        """Like a kubelet: who attaches its volumes, and which are in use. A lost kubelet never withdraws these."""
        name = node["metadata"]["name"]
        if (node["metadata"].get("annotations") or {}).get(_MANAGED) != "true":
            annotations = {"metadata": {"annotations": {_MANAGED: "true"}}}
            self._kinds["Node"].patch(name=name, body=annotations, content_type=_MERGE)
        used = sorted(
            f"kubernetes.io/csi/{DRIVER}^{volume}"
            for pod in pods
            if pod["spec"].get("nodeName") == name and pod["status"].get("phase") not in {"Succeeded", "Failed"}
            for volume in self._volumes(pod)
        )
        if used != (node["status"].get("volumesInUse") or []):
            self._kinds["Node"].status.patch(
                name=name, body={"status": {"volumesInUse": used or None}}, content_type=_MERGE
            )

    def _start(self, pod: Object) -> None:
        """Like a kubelet: sets the condition that kwok waits for in a pod with volumes."""
        conditions = pod["status"].get("conditions") or []
        volumes = set(self._volumes(pod))
        mounted = {volume for volume in volumes if self._attached(volume, pod["spec"]["nodeName"])}
        if not volumes or mounted != volumes or any(one["type"] == _MOUNTED for one in conditions):
            return
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        condition = {"type": _MOUNTED, "status": "True", "lastTransitionTime": now}
        self._kinds["Pod"].status.patch(
            name=pod["metadata"]["name"],
            namespace=pod["metadata"]["namespace"],
            body={"status": {"conditions": [condition]}},
            content_type="application/strategic-merge-patch+json",
        )

    def _move(self, pod: Object) -> None:
        """Like Longhorn's manager, if its setting says so (kubernetes_pod_controller.go, handlePodDeletionIfNodeDown).

        It deletes the attachments of a terminating pod first, and the pod once its grace period is over.
        """
        metadata = pod["metadata"]
        owners = {owner["kind"] for owner in metadata.get("ownerReferences") or []}
        policy = self._settings.get(name="node-down-pod-deletion-policy", namespace="longhorn-system").to_dict()
        volumes = set(self._volumes(pod))
        terminating = metadata.get("deletionTimestamp")
        if not terminating or not volumes or not owners & _DELETED.get(policy["value"], set()):
            return
        attached = [
            one
            for one in self._attachments
            if one["spec"]["nodeName"] == pod["spec"]["nodeName"] and _volume(one) in volumes
        ]
        for one in attached:
            if not one["metadata"].get("deletionTimestamp"):
                self._kinds["VolumeAttachment"].delete(name=one["metadata"]["name"])
        if not attached and _seconds_since(terminating) >= 0:
            self._kinds["Pod"].delete(
                name=metadata["name"], namespace=metadata["namespace"], body={"gracePeriodSeconds": 0}
            )

    def _volumes(self, pod: Object) -> Iterator[str]:
        """Names of the pod's Longhorn volumes, which are also their handles."""
        for volume in pod["spec"].get("volumes") or []:
            if claim := volume.get("persistentVolumeClaim"):
                name = self._claims.get((pod["metadata"]["namespace"], claim["claimName"]))
                yield name or "unbound"

    def _attached(self, volume: str, node: str) -> bool:
        return any(
            _volume(one) == volume and one["spec"]["nodeName"] == node and (one.get("status") or {}).get("attached")
            for one in self._attachments
        )


def _volume(attachment: Object) -> str:
    return str(attachment["spec"]["source"]["persistentVolumeName"])


def _is_ready(node: Object) -> bool:
    return any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions") or [])


def _seconds_since(time: str) -> float:
    return (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(time)).total_seconds()
