"""The fields whose change replaces an object (pulumi-kubernetes, `provider/diff.go`)."""

from __future__ import annotations

from typing import Final

from rehearsal.plugins.kubernetes.objects import Kind, Object

_CONTAINER_FIELDS: Final = (
    "args",
    "command",
    "env",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "ports",
    "readinessProbe",
    "resources",
    "securityContext",
    "stdin",
    "stdinOnce",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
)

_POD_FIELDS: Final = (
    "affinity",
    "automountServiceAccountToken",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostname",
    "imagePullSecrets",
    "nodeName",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "readinessGates",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "shareProcessNamespace",
    "subdomain",
    "terminationGracePeriodSeconds",
    "volumes",
)

_VOLUME_SOURCES: Final = (
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
)

_FIELDS: Final[dict[Kind, tuple[str, ...]]] = {
    Kind("apps/v1", "DaemonSet"): ("spec.selector",),
    Kind("apps/v1", "Deployment"): ("spec.selector",),
    Kind("apps/v1", "StatefulSet"): (
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.selector",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    Kind("batch/v1", "Job"): ("spec.completions", "spec.parallelism", "spec.selector", "spec.template"),
    Kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): ("roleRef",),
    Kind("rbac.authorization.k8s.io/v1", "RoleBinding"): ("roleRef",),
    Kind("storage.k8s.io/v1", "StorageClass"): ("parameters", "provisioner"),
    Kind("v1", "PersistentVolume"): tuple(f"spec.{source}" for source in _VOLUME_SOURCES),
    Kind("v1", "PersistentVolumeClaim"): (
        "spec.accessModes",
        "spec.selector",
        "spec.storageClassName",
        "spec.volumeName",
    ),
    Kind("v1", "Pod"): (
        *(f"spec.{field}" for field in _POD_FIELDS),
        *(f"spec.{list_}.*.{field}" for list_ in ("containers", "initContainers") for field in _CONTAINER_FIELDS),
    ),
    Kind("v1", "ResourceQuota"): ("spec.scopes",),
    Kind("v1", "Secret"): ("type",),
    Kind("v1", "Service"): ("spec.clusterIP",),
}

_SECRET: Final = Kind("v1", "Secret")
_CONFIG_MAP: Final = Kind("v1", "ConfigMap")


def force_new_fields(obj: Object, *, secret_mutable: bool, config_map_mutable: bool) -> list[tuple[str, ...]]:
    """Paths whose change replaces this object, as keys, and `*` for any list index.

    A change of its data replaces an object marked `immutable`, whatever the provider's settings.
    """
    kind = Kind.of(obj)
    fields = ["metadata.name", "metadata.namespace", *_FIELDS.get(kind, ())]
    immutable = obj.get("immutable") is True
    if kind == _SECRET and (immutable or not secret_mutable):
        fields += ["stringData", "data"]
    if kind == _CONFIG_MAP and (immutable or not config_map_mutable):
        fields += ["binaryData", "data"]
    return [tuple(field.split(".")) for field in fields]
