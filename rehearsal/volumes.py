"""Stand-in for Longhorn: gives claims of its class a volume, grows volumes, and takes released ones away."""

from __future__ import annotations

import kubernetes
from kubernetes.utils.quantity import parse_quantity

STORAGE_CLASS = "longhorn"
DRIVER = "driver.longhorn.io"


class Provisioner:
    """One `step` does what is to be done now."""

    def __init__(self, client: kubernetes.client.ApiClient) -> None:
        self._api = kubernetes.client.CoreV1Api(client)

    def step(self) -> None:
        """Provisions pending claims, grows bound ones, deletes released volumes whose policy says so."""
        for claim in self._api.list_persistent_volume_claim_for_all_namespaces().items:
            if claim.spec.storage_class_name != STORAGE_CLASS or claim.metadata.deletion_timestamp is not None:
                continue
            if claim.spec.volume_name is None:
                self._provision(claim)
            elif claim.status.phase == "Bound":
                self._grow(claim)
        for volume in self._api.list_persistent_volume().items:
            released = volume.status.phase == "Released"
            if released and volume.spec.persistent_volume_reclaim_policy == "Delete":
                self._api.delete_persistent_volume(volume.metadata.name)

    def _provision(self, claim: kubernetes.client.V1PersistentVolumeClaim) -> None:
        name = f"pvc-{claim.metadata.uid}"
        reference = {"namespace": claim.metadata.namespace, "name": claim.metadata.name, "uid": claim.metadata.uid}
        body = {
            "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER}},
            "spec": {
                "capacity": {"storage": claim.spec.resources.requests["storage"]},
                "accessModes": claim.spec.access_modes,
                "storageClassName": STORAGE_CLASS,
                "persistentVolumeReclaimPolicy": "Delete",
                "csi": {"driver": DRIVER, "volumeHandle": name, "fsType": "ext4"},
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **reference},
            },
        }
        try:
            self._api.create_persistent_volume(body)
        except kubernetes.client.ApiException as error:
            if error.status != 409:  # made at the last step, and not bound yet
                raise

    def _grow(self, claim: kubernetes.client.V1PersistentVolumeClaim) -> None:
        wanted = claim.spec.resources.requests["storage"]
        if parse_quantity(wanted) <= parse_quantity(claim.status.capacity["storage"]):
            return
        self._api.patch_persistent_volume(claim.spec.volume_name, {"spec": {"capacity": {"storage": wanted}}})
        self._api.patch_namespaced_persistent_volume_claim_status(
            claim.metadata.name, claim.metadata.namespace, {"status": {"capacity": {"storage": wanted}}}
        )
