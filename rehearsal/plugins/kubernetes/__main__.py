"""The executable behind `pulumi-resource-kubernetes`."""

from __future__ import annotations

from rehearsal.plugins.base import serve
from rehearsal.plugins.fork_server import is_serving
from rehearsal.plugins.kubernetes.provider import KubernetesPlugin

if is_serving():
    # The client builds a kind's model at its first use, which takes a fifth of a second for these. Forks inherit them.
    from kubernetes.client import (  # noqa: F401
        V1ConfigMap,
        V1CronJob,
        V1Deployment,
        V1LimitRange,
        V1Namespace,
        V1PersistentVolumeClaim,
        V1PodDisruptionBudget,
        V1ResourceQuota,
        V1Role,
        V1RoleBinding,
        V1Secret,
        V1Service,
        V1ServiceAccount,
        V1StatefulSet,
    )

if __name__ == "__main__":
    serve(KubernetesPlugin())
