"""The stack's state in the cluster before `up`: whether the cluster answers, and what `up` would create again."""

from __future__ import annotations

from contextlib import suppress

import pulumi

from components.admission_names import API_VERSION, POLICIES
from lookups.cluster import Cluster, ClusterError, ForbiddenError
from settings import Settings


def check_cluster(settings: Settings, cluster: Cluster) -> None:
    """Raises `ClusterError` if the cluster gives no usable answer; warns if the app has to be deployed again.

    Without it, the plugin previews a new stack as if an unreachable cluster were reachable and empty, and succeeds.
    """
    namespace = cluster.get("v1", "namespaces", settings.namespace)
    if namespace is None:
        _refuse_others(settings, cluster)
    _check_priority_class(settings, cluster)
    if settings.delivery and settings.delivery.admission_policy and not cluster.serves(API_VERSION, POLICIES):
        raise ClusterError(
            f"The cluster {settings.cluster.context} does not support ValidatingAdmissionPolicy: it is older than "
            "Kubernetes 1.30. Nothing was created or changed.\n\nUpgrade it, or leave delivery.admissionPolicy "
            "out; the pipeline's token can then create Jobs that mount any Secret of the namespace."
        )
    if namespace is None:
        return
    if cluster.get("apps/v1", "deployments", settings.names.app, settings.namespace) is None:
        run = f"; run it again on the branch {settings.delivery.branch}" if settings.delivery else ""
        pulumi.log.warn(
            f"The namespace {settings.namespace} has no Deployment {settings.names.app}, so `up` makes it with the "
            f"placeholder {settings.app.image}. The app is down until its pipeline has deployed{run}."
        )


def _refuse_others(settings: Settings, cluster: Cluster) -> None:
    """Every cluster has a namespace `default`; a server without it is no API server, whatever it answers."""
    with suppress(ForbiddenError):
        if cluster.get("v1", "namespaces", "default") is None:
            raise ClusterError(
                f"The server of the context {settings.cluster.context} has no namespace `default`, so it is not a "
                "Kubernetes API server. Nothing was created or changed.\n\n"
                "Check the server's address in the kubeconfig."
            )


def _check_priority_class(settings: Settings, cluster: Cluster) -> None:
    """Without the class, the API server refuses every pod, long after `up` has created the pods' controllers."""
    name = settings.cluster.priority_class
    if name is None:
        return
    try:
        found = cluster.get("scheduling.k8s.io/v1", "priorityclasses", name)
    except ForbiddenError as error:
        pulumi.log.warn(f"Cannot check whether the PriorityClass {name} exists. {error}")
        return
    if found is None:
        raise ClusterError(
            f"The cluster {settings.cluster.context} has no PriorityClass {name}, so no pod of app and database could "
            "start. Nothing was created or changed.\n\nCreate it, correct cluster.priorityClass, or remove it."
        )
