"""Checks that the cluster has CloudNativePG's operator, in a version that is new enough for the program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import pulumi

from components.cloudnative_pg import API, OPERATOR, RESOURCE
from components.wal_archive import API as WAL_API
from components.wal_archive import PLUGIN, PLUGIN_LABEL
from components.wal_archive import RESOURCE as WAL_RESOURCE
from lookups.cluster import Cluster, ForbiddenError, Object
from settings import Settings
from settings.images import image_repository

LEAST: Final = (1, 27)
"""The version that the rehearsal runs. Older ones are untested, and lack the check that stops an isolated primary."""
_UPGRADES: Final = {(1, 27): 4, (1, 28): 2}
"""For each minor release, the first patch release that stops every instance before it upgrades the data in place, and
that rolls back a failed upgrade (cloudnative-pg#10298 and #10104). Later minor releases do both."""

_PLUGIN: Final = "install it (https://cloudnative-pg.io/plugin-barman-cloud/docs/installation)"
_INSTALL: Final = "install it (https://cloudnative-pg.io/docs/current/installation_upgrade)"


def find_problems(settings: Settings, cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Problems, each with its fix; warns if the kubeconfig's user may not see what runs."""
    yield from _operator_problems(settings, cluster)
    if settings.database_of_operator and settings.wal:
        yield from _plugin_problems(settings.database_of_operator.operator_namespace, cluster)


def _operator_problems(settings: Settings, cluster: Cluster) -> Iterator[tuple[str, str]]:
    if not cluster.serves(API, RESOURCE):
        yield f"CloudNativePG is not installed: its API {API} is missing", _INSTALL
        return
    if settings.database_of_operator is None:
        return
    namespace = settings.database_of_operator.operator_namespace
    try:
        deployments = [one for one in cluster.list("apps/v1", "deployments", namespace) if _is_operator(one)]
    except ForbiddenError as error:
        pulumi.log.warn(f"Cannot check whether CloudNativePG's operator runs in {namespace} and is new enough. {error}")
        return
    if not deployments:
        labels = ",".join(f"{key}={value}" for key, value in OPERATOR.items())
        yield (
            f"No operator of CloudNativePG runs in {namespace}, which has no Deployment with the label {labels}",
            f"set database.operatorNamespace to where it runs (kubectl get deployments -A -l {labels}), or {_INSTALL}",
        )
    for deployment in deployments:
        image = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
        if not (deployment.get("status") or {}).get("availableReplicas"):
            name = deployment["metadata"]["name"]
            yield "The operator is not available", f"kubectl -n {namespace} describe deployment {name}"
        found = version_of(image)
        if found is not None and found < LEAST:
            yield f"The operator is {image}, and {'.'.join(map(str, LEAST))} or newer is needed", "upgrade it"


def _plugin_problems(namespace: str, cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Without the plugin, the operator does not create a Cluster that names it, and does not change a running one."""
    if not cluster.serves(WAL_API, WAL_RESOURCE):
        yield (
            f"The plugin barman-cloud, which database.wal needs, is not installed: its API {WAL_API} is missing",
            _PLUGIN,
        )
        return
    label = f"{PLUGIN_LABEL}={PLUGIN}"
    try:
        services = cluster.list("v1", "services", namespace, selector=label)
        deployments = cluster.list("apps/v1", "deployments", namespace)
    except ForbiddenError as error:
        pulumi.log.warn(f"Cannot check whether the plugin barman-cloud runs in {namespace}. {error}")
        return
    if not services:
        yield (
            f"The operator finds no plugin barman-cloud in {namespace}, which has no Service with the label {label}",
            f"install it in the operator's own namespace; {_PLUGIN}",
        )
    for service in services:
        wanted = (service["spec"].get("selector") or {}).items()
        ours = [one for one in deployments if wanted <= _pod_labels(one).items()]
        if not any((one.get("status") or {}).get("availableReplicas") for one in ours):
            selector = ",".join(f"{key}={value}" for key, value in wanted)
            yield "The plugin barman-cloud is not available", f"kubectl -n {namespace} get pods -l {selector}"


def version_of(image: str) -> tuple[int, int] | None:
    """Major and minor version in the tag of the operator's image; None if the tag has none."""
    tag = image.partition("@")[0].removeprefix(image_repository(image))
    found = re.match(r":v?(\d+)\.(\d+)\b", tag)
    return (int(found[1]), int(found[2])) if found else None


def upgrades_safely(image: str) -> bool:
    """Whether an operator with this image can safely upgrade the data in place; True if the tag does not tell."""
    found = version_of(image)
    if found is None or found not in _UPGRADES:
        return found is None or found > max(_UPGRADES)
    patch = re.search(r":v?\d+\.\d+\.(\d+)", image)
    return patch is None or int(patch[1]) >= _UPGRADES[found]


def _is_operator(deployment: Object) -> bool:
    labels = deployment["metadata"].get("labels") or {}
    return OPERATOR.items() <= labels.items()


def _pod_labels(deployment: Object) -> Object:
    labels: Object = (deployment["spec"]["template"].get("metadata") or {}).get("labels") or {}
    return labels
