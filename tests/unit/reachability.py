"""Who may reach whom under CiliumNetworkPolicies, for the part of Cilium's policy language that this program uses.

A connection needs both ends: a rule for the way out of its source and one for the way into its destination. A pod is
unrestricted in a direction until a policy that selects it has a section for it (docs.cilium.io, "Policy Enforcement
Modes" and "Layer 3 Policies"). Anything unknown here is refused, so that no rule is ever taken for another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

NAMESPACE: Final = "io.kubernetes.pod.namespace"
ANY_OTHER_PORT: Final = "any other port"
"""Stands for every port that no rule names."""

Direction = Literal["ingress", "egress"]

_PEERS: Final[Mapping[Direction, tuple[str, str]]] = {
    "ingress": ("fromEndpoints", "fromEntities"),
    "egress": ("toEndpoints", "toEntities"),
}
_NAMES: Final = "toFQDNs"


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod, or one of several identical ones."""

    name: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class Outsider:
    """Anything that is not a pod to Cilium: a reserved identity, with its DNS name if rules refer to it by name."""

    name: str
    entity: str
    host: str | None = None


Endpoint = Pod | Outsider


class NotUnderstoodError(Exception):
    """A policy uses something that this module does not read."""


class Policies:
    """All policies of a cluster. `ports` are the ports that some rule names, and ANY_OTHER_PORT."""

    def __init__(self, objects: Sequence[Mapping[str, Any]]) -> None:
        for each in objects:
            _check(each["spec"], {"endpointSelector", "ingress", "egress", "enableDefaultDeny"})
        self._objects = objects
        rules = (rule for each in objects for direction in _PEERS for rule in each["spec"].get(direction, []))
        self.ports = [*sorted({port for rule in rules for port in _ports(rule)}), ANY_OTHER_PORT]

    def allows(self, source: Endpoint, destination: Endpoint, port: str) -> bool:
        """Whether the source's policies let a connection out and the destination's let it in."""
        out = self._passes("egress", source, destination, port)
        return out and self._passes("ingress", destination, source, port)

    def edges(self, endpoints: Sequence[Endpoint], pods: Sequence[Pod]) -> Iterator[tuple[str, str, str]]:
        """Source, destination and port of every allowed connection with an end in `pods`."""
        for source in endpoints:
            for destination in endpoints:
                if source != destination and (source in pods or destination in pods):
                    ports = [port for port in self.ports if self.allows(source, destination, port)]
                    yield from ((source.name, destination.name, port) for port in ports)

    def _passes(self, direction: Direction, pod: Endpoint, peer: Endpoint, port: str) -> bool:
        if not isinstance(pod, Pod):
            return True  # no policy of a namespace selects it
        selecting = [each for each in self._objects if _selects_subject(each, pod) and direction in each["spec"]]
        if not any(each["spec"].get("enableDefaultDeny", {}).get(direction, True) for each in selecting):
            return True
        rules = [(rule, each["metadata"]["namespace"]) for each in selecting for rule in each["spec"][direction]]
        # Cilium knows the address of a name only from the answers that its DNS proxy has seen.
        resolves = any("rules" in ports for rule, _ in rules for ports in rule.get("toPorts", []))
        return any(_allows(direction, rule, namespace, peer, port, resolves=resolves) for rule, namespace in rules)


def _allows(
    direction: Direction, rule: Mapping[str, Any], namespace: str, peer: Endpoint, port: str, *, resolves: bool
) -> bool:
    endpoints, entities = _PEERS[direction]
    names = [_NAMES] if direction == "egress" else []
    _check(rule, {endpoints, entities, "toPorts", *names})
    if not rule:
        return False  # as in the policy `deny-all-ingress` of Cilium's own connectivity tests
    if "toPorts" in rule and port not in _ports(rule):
        return False
    if not {endpoints, entities, *names} & set(rule):
        return True
    if isinstance(peer, Pod):
        return any(_selects(selector, peer, namespace) for selector in rule.get(endpoints, []))
    if _NAMES in rule and peer.host is not None:
        return resolves and {"matchName": peer.host} in rule[_NAMES]
    return peer.entity in rule.get(entities, [])


def _selects_subject(policy: Mapping[str, Any], pod: Pod) -> bool:
    namespace = policy["metadata"]["namespace"]
    return pod.namespace == namespace and _selects(policy["spec"]["endpointSelector"], pod, namespace)


def _selects(selector: Mapping[str, Any], pod: Pod, namespace: str) -> bool:
    """A selector that names no namespace means the policy's own."""
    _check(selector, {"matchLabels"})
    wanted = {key.removeprefix("k8s:"): value for key, value in selector.get("matchLabels", {}).items()}
    return {NAMESPACE: namespace, **wanted}.items() <= {**pod.labels, NAMESPACE: pod.namespace}.items()


def _ports(rule: Mapping[str, Any]) -> Iterator[str]:
    for ports in rule.get("toPorts", []):
        _check(ports, {"ports", "rules"})
        _check(ports.get("rules", {}), {"dns"})
        for port in ports["ports"]:
            _check(port, {"port", "protocol"})
            yield f"{port['port']}/{port['protocol']}"


def _check(part: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(set(part) - known):
        raise NotUnderstoodError(f"{', '.join(unknown)}: teach tests/unit/reachability.py what it means")
