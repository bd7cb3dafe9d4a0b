"""Checks that the pods at the other ends of the network policies exist: by their labels the policies admit them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pulumi

from components.network import DNS, DNS_NAMESPACE
from lookups.cluster import Cluster, ForbiddenError
from settings import Settings
from settings.access import PublicAccessSettings


def find_problems(settings: Settings, cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Problems, each with its fix; warns if no such pod runs, or the kubeconfig's user may not look.

    Missing pods may start later, and policies of others may admit what the program's do not.
    """
    _check_dns(cluster)
    if settings.access.public:
        yield from _of_cloudflared(settings.access.public, cluster)


def _check_dns(cluster: Cluster) -> None:
    label = _selector(DNS)
    try:
        found = cluster.list("v1", "pods", DNS_NAMESPACE, selector=label)
    except ForbiddenError as error:
        pulumi.log.warn(f"Cannot check whether the cluster's DNS has the label {label}. {error}")
        return
    if not found:
        pulumi.log.warn(
            f"No pod in {DNS_NAMESPACE} has the label {label}, and the stack's network policies let pods ask only such "
            "ones for names, so that the app would not find its database: give the pods of the cluster's DNS that label"
        )


def _of_cloudflared(public: PublicAccessSettings, cluster: Cluster) -> Iterator[tuple[str, str]]:
    namespace, labels = public.cloudflared.namespace, _selector(public.cloudflared.pod_labels)
    try:
        if cluster.get("v1", "namespaces", namespace) is None:
            yield (
                f"access.public.cloudflared.namespace is {namespace}, which the cluster does not have",
                "name the namespace of cloudflared's pods; from outside this cluster it cannot reach the app's Service",
            )
            return
        found = cluster.list("v1", "pods", namespace, selector=labels)
    except ForbiddenError as error:
        pulumi.log.warn(f"Cannot check whether cloudflared runs in {namespace}. {error}")
        return
    if not found:
        pulumi.log.warn(
            f"No pod in {namespace} has the labels {labels} (access.public.cloudflared.podLabels), and the app's "
            f"network policy admits only such pods: until one runs, {' and '.join(public.hostnames)} answers 502. If "
            f"cloudflared runs, correct the labels: kubectl -n {namespace} get pods --show-labels"
        )


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in labels.items())
