"""Checks that the Gateway in the stack file would accept the app's route."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pulumi

from lookups.cluster import Cluster, ForbiddenError, Object
from settings import Settings
from settings.access import GatewaySettings

API: Final = "gateway.networking.k8s.io/v1"
RESOURCE: Final = "gateways"


def find_problems(settings: Settings, cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Problems, each with its fix; warns if the kubeconfig's user may not read the Gateway."""
    wanted = settings.access.gateway
    try:
        found = cluster.get(API, RESOURCE, wanted.name, wanted.namespace)
    except ForbiddenError as error:
        pulumi.log.warn(f"Cannot check whether the Gateway {_place(wanted)} accepts the app's route. {error}")
        return
    if found is None:
        yield (
            f"access.gateway is {_place(wanted)}, but the cluster has no such Gateway{_others(cluster)}",
            "correct access.gateway.name and access.gateway.namespace, or create it",
        )
        return
    listeners = {one["name"]: one for one in found["spec"]["listeners"]}
    if wanted.listener in listeners:
        yield from _of_listener(settings, listeners[wanted.listener])
    else:
        there = ", ".join(sorted(listeners))
        yield (
            f"The Gateway {_place(wanted)} has no listener {wanted.listener}. It has {there}",
            "correct access.gateway.listener, or add the listener",
        )


def _of_listener(settings: Settings, listener: dict[str, Any]) -> Iterator[tuple[str, str]]:
    wanted, served = settings.access.gateway, listener.get("hostname") or ""
    name = f"The listener {wanted.listener} of the Gateway {_place(wanted)}"
    if others := [one for one in settings.access.hostnames if not _serves(served, one)]:
        yield (
            f"{name} serves {served}, but not {' or '.join(others)}",
            f"correct {settings.access.hostname_key} or access.gateway.listener, or change the listener",
        )
    namespaces = (listener.get("allowedRoutes") or {}).get("namespaces") or {}
    if namespaces.get("from", "Same") == "Same" and wanted.namespace != settings.namespace:
        yield (
            f"{name} accepts routes from its own namespace only, but the app's route is in {settings.namespace}",
            "set its allowedRoutes.namespaces.from to All, or to Selector with one that selects that namespace",
        )


def _place(wanted: GatewaySettings) -> str:
    return f"{wanted.namespace}/{wanted.name}"


def _others(cluster: Cluster) -> str:
    try:
        there: list[Object] = cluster.list(API, RESOURCE)
    except ForbiddenError:
        return ""
    names = sorted(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in there)
    return f". It has {', '.join(names) or 'none'}"


def _serves(served: str, hostname: str) -> bool:
    """As Gateway API defines `Listener.hostname`: none matches all, and a wildcard stands for one or more labels."""
    served, hostname = served.casefold(), hostname.casefold()
    return served in {"", hostname} or (served.startswith("*.") and hostname.endswith(served[1:]))
