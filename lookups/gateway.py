"""Checks that the Gateway in the stack file would accept the app's route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pulumi

from components.environment import LABELS
from lookups.cluster import Cluster, ForbiddenError, Object
from settings import Settings
from settings.access import GatewaySettings
from settings.ownership import PART_OF

API: Final = "gateway.networking.k8s.io/v1"
RESOURCE: Final = "gateways"
_HTTPS: Final = "HTTPS"
"""With HTTP, people's passwords would cross the network in clear text; the other protocols take no HTTPRoute."""
_CLASSES: Final = "gatewayclasses"
_CILIUM: Final = "io.cilium/gateway-controller"
"""Controller of Cilium's GatewayClasses (cilium/cilium, operator/pkg/gateway-api)."""
_NAME: Final = "kubernetes.io/metadata.name"
"""Label that Kubernetes itself gives every namespace."""


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
    yield from _of_class(wanted, found["spec"]["gatewayClassName"], cluster)
    listeners = {one["name"]: one for one in found["spec"]["listeners"]}
    if wanted.listener in listeners:
        yield from _of_listener(settings, cluster, listeners[wanted.listener])
    else:
        there = ", ".join(sorted(listeners))
        yield (
            f"The Gateway {_place(wanted)} has no listener {wanted.listener}. It has {there}",
            "correct access.gateway.listener, or add the listener",
        )


def _of_class(wanted: GatewaySettings, name: str, cluster: Cluster) -> Iterator[tuple[str, str]]:
    try:
        found = cluster.get(API, _CLASSES, name)
    except ForbiddenError as error:
        pulumi.log.warn(f"Cannot check whether Cilium serves the Gateway {_place(wanted)}. {error}")
        return
    if found is None:
        yield (
            f"The Gateway {_place(wanted)} is of the class {name}, which does not exist, so nothing serves it",
            "correct access.gateway, or switch on Cilium's Gateway API, which creates the class cilium",
        )
    elif (controller := found["spec"]["controllerName"]) != _CILIUM:
        # No refusal: another policy may admit that controller's pods.
        pulumi.log.warn(
            f"The Gateway {_place(wanted)} (class {name}) is served by {controller}, not by Cilium, whose Gateway is "
            "the only one that the app's network policy admits, so requests time out: name one in access.gateway"
        )


def _of_listener(settings: Settings, cluster: Cluster, listener: dict[str, Any]) -> Iterator[tuple[str, str]]:
    wanted, served = settings.access.gateway, listener.get("hostname") or ""
    name = f"The listener {wanted.listener} of the Gateway {_place(wanted)}"
    if listener["protocol"] != _HTTPS:
        yield (
            f"{name} has the protocol {listener['protocol']}, and would not serve the app over HTTPS",
            "correct access.gateway.listener, or set its protocol to HTTPS, with a certificate",
        )
    if others := [one for one in settings.access.hostnames if not _serves(served, one)]:
        yield (
            f"{name} serves {served}, but not {' or '.join(others)}",
            f"correct {settings.access.hostname_key} or access.gateway.listener, or change the listener",
        )
    namespaces = (listener.get("allowedRoutes") or {}).get("namespaces") or {}
    accepted, selector = namespaces.get("from", "Same"), namespaces.get("selector")
    if accepted == "Selector" and not _selects(selector, _labels(settings, cluster)):
        selected = f"routes only from the namespaces that its selector matches ({_spelled(selector)})"
        label, command = f"{PART_OF}={settings.project}", f"kubectl label namespace {settings.namespace} <key>=<value>"
        yield (
            f"{name} accepts {selected}, and it does not match {settings.namespace}, where the app's route is",
            f"let it match a label that `up` sets, for example {label}, or create and label the namespace ({command})",
        )
    if accepted == "Same" and wanted.namespace != settings.namespace:
        yield (
            f"{name} accepts routes from its own namespace only, but the app's route is in {settings.namespace}",
            "set its allowedRoutes.namespaces.from to All, or to Selector with one that selects that namespace",
        )


def _labels(settings: Settings, cluster: Cluster) -> Mapping[str, str]:
    """Labels of the stack's namespace after `up`, which keeps what others have added."""
    found = cluster.get("v1", "namespaces", settings.namespace) or {"metadata": {}}
    there = found["metadata"].get("labels") or {}
    return {**there, **LABELS, **settings.names.owner_labels, _NAME: settings.namespace}


def _selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector matches; an empty one matches everything, and none at all nothing."""
    if selector is None:
        return False
    wanted: Mapping[str, str] = selector.get("matchLabels") or {}
    return wanted.items() <= labels.items() and all(
        _holds(one, labels) for one in selector.get("matchExpressions") or ()
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:  # Kubernetes knows no other, and no controller selects by it
            return False


def _spelled(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector as `kubectl get --selector` takes it."""
    if selector is None:
        return "it has none"
    labels = (f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items())
    return ",".join([*labels, *map(_spelled_expression, selector.get("matchExpressions") or ())])


def _spelled_expression(expression: Mapping[str, Any]) -> str:
    key, operator = expression["key"], expression["operator"]
    if operator in {"Exists", "DoesNotExist"}:
        return f"{'' if operator == 'Exists' else '!'}{key}"
    return f"{key} {operator.lower()} ({', '.join(expression.get('values') or ())})"


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
