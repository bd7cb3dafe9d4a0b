"""Stand-in for Longhorn: provisions volumes for claims of its class, grows volumes, and deletes released ones."""

from __future__ import annotations

from typing import Any

from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import ConflictError
from kubernetes.utils.quantity import parse_quantity

from components.longhorn import DRIVER
from rehearsal.homelab import STORAGE_CLASS

_ASKED = "volume.kubernetes.io/storage-provisioner"


class Provisioner:
    """Each `step` does what is due."""

    def __init__(self, cluster: DynamicClient) -> None:
        resources = cluster.resources
        self._claims = resources.get(api_version="v1", kind="PersistentVolumeClaim")
        self._volumes = resources.get(api_version="v1", kind="PersistentVolume")
        self.watched = (self._claims, self._volumes)

    def step(self) -> None:
        """Provisions pending claims, grows bound ones, and deletes released volumes if their reclaim policy says so."""
        for claim in self._claims.get().to_dict()["items"]:
            if claim["spec"].get("storageClassName") != STORAGE_CLASS or "deletionTimestamp" in claim["metadata"]:
                continue
            # The controller looks for a volume that is reserved for the claim before it requests a new one.
            asked = (claim["metadata"].get("annotations") or {}).get(_ASKED) == DRIVER
            if "volumeName" not in claim["spec"] and asked:
                self._provision(claim)
            elif claim["status"].get("phase") == "Bound":
                self._grow(claim)
        for volume in self._volumes.get().to_dict()["items"]:
            released = volume["status"].get("phase") == "Released"
            if released and volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete":
                self._volumes.delete(name=volume["metadata"]["name"])

    def _provision(self, claim: dict[str, Any]) -> None:
        metadata = claim["metadata"]
        name = f"pvc-{metadata['uid']}"
        reference = {key: metadata[key] for key in ("namespace", "name", "uid")}
        body = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER}},
            "spec": {
                "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                "accessModes": claim["spec"]["accessModes"],
                "storageClassName": STORAGE_CLASS,
                "persistentVolumeReclaimPolicy": "Delete",
                "csi": {"driver": DRIVER, "volumeHandle": name, "fsType": "ext4"},
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **reference},
            },
        }
        try:
            self._volumes.create(body=body)
        except ConflictError:
            return  # created in the last step, and not bound yet

    def _grow(self, claim: dict[str, Any]) -> None:
        wanted = claim["spec"]["resources"]["requests"]["storage"]
        if parse_quantity(wanted) <= parse_quantity(claim["status"]["capacity"]["storage"]):
            return
        merge = "application/merge-patch+json"
        capacity = {"capacity": {"storage": wanted}}
        self._volumes.patch(name=claim["spec"]["volumeName"], body={"spec": capacity}, content_type=merge)
        self._claims.status.patch(
            name=claim["metadata"]["name"],
            namespace=claim["metadata"]["namespace"],
            body={"status": capacity},
            content_type=merge,
        )
