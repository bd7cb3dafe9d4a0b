"""Cilium network policies: who may reach a pod and whom it may reach; everything else is denied both ways.

A CiliumNetworkPolicy with an `ingress` (or `egress`) section puts the pods it selects into default deny for that
direction (docs.cilium.io, "Policy Enforcement Modes"); an empty rule in the section allows nothing more, as in the
policies `deny-all-ingress` and `deny-all-egress` of Cilium's own connectivity tests. docs/network.md shows the result
of all policies together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi

from components.environment import Environment
from components.pods import PATCH_FORCE
from sdks import kubernetes

POD_NAMESPACE: Final = "k8s:io.kubernetes.pod.namespace"
"""Cilium's label for a pod's namespace."""
DNS_NAMESPACE: Final = "kube-system"
DNS: Final = {"k8s-app": "kube-dns"}
"""Label of the pods of the cluster's DNS, whatever they run."""

Labels = Mapping[str, pulumi.Input[str]]
Rule = Mapping[str, Any]


def _ports(*ports: pulumi.Input[int], protocols: Sequence[str] = ("TCP",)) -> list[dict[str, Any]]:
    # The CRD wants a string; an Output of a number can only be converted once it is known.
    listed = [
        {"port": pulumi.Output.from_input(port).apply(lambda number: str(int(number))), "protocol": protocol}
        for port in ports
        for protocol in protocols
    ]
    return [{"ports": listed}]


def from_pods(labels: Labels, *, port: pulumi.Input[int], namespace: pulumi.Input[str] | None = None) -> Rule:
    """Ingress from the pods with these labels, by default in the policy's own namespace."""
    return {"fromEndpoints": [_peer(labels, namespace)], "toPorts": _ports(port)}


def to_pods(labels: Labels, *, port: pulumi.Input[int], namespace: pulumi.Input[str] | None = None) -> Rule:
    """Egress to the pods with these labels, by default in the policy's own namespace."""
    return {"toEndpoints": [_peer(labels, namespace)], "toPorts": _ports(port)}


def from_gateway(*, port: pulumi.Input[int]) -> Rule:
    """Ingress from Cilium's Gateway, whose proxy has the reserved identity `ingress` and no namespace."""
    return {"fromEntities": ["ingress"], "toPorts": _ports(port)}


def from_kubelet(*, port: pulumi.Input[int]) -> Rule:
    """Ingress from the pod's own node, from which the kubelet sends its probes."""
    return {"fromEntities": ["host"], "toPorts": _ports(port)}


def to_dns(*, learn_names: bool = False) -> Rule:
    """Egress to the cluster's DNS.

    `learn_names` sends queries through Cilium's DNS proxy, without which `to_names` would match nothing. The proxy is
    part of the agent: while that restarts, nothing resolves. So set it only for pods with `to_names`.
    """
    ports: dict[str, Any] = {"ports": [{"port": "53", "protocol": "UDP"}, {"port": "53", "protocol": "TCP"}]}
    if learn_names:
        ports["rules"] = {"dns": [{"matchPattern": "*"}]}
    return {
        "toEndpoints": [{"matchLabels": {POD_NAMESPACE: DNS_NAMESPACE, **DNS}}],
        "toPorts": [ports],
    }


def to_api_server() -> Rule:
    """Egress to the API server, at whatever address and port the cluster's Service points to."""
    return {"toEntities": ["kube-apiserver"]}


def to_names(names: Sequence[str], *, port: int = 443) -> Rule:
    """Egress over HTTPS to the hosts with these names, at whatever addresses DNS returns."""
    return {"toFQDNs": [{"matchName": name} for name in names], "toPorts": _ports(port)}


def network_policy(
    name: str,
    *,
    environment: Environment,
    namespace: pulumi.Input[str] | None = None,
    pods: pulumi.Input[Labels],
    ingress: Sequence[pulumi.Input[Rule]] | None = (),
    egress: Sequence[pulumi.Input[Rule]] | None = (),
    restricts: bool = True,
    opts: pulumi.ResourceOptions,
) -> kubernetes.apiextensions.CustomResource:
    """The CiliumNetworkPolicy `name` for the pods labelled `pods`.

    A direction without rules allows nothing; None leaves the direction to the other policies of these pods. With
    `restricts=False`, the policy only adds to what the pods may do, even if no other policy selects them (Cilium 1.16).
    `namespace` is the policy's, by default the stack's own.
    """
    directions = {name: rules for name, rules in (("ingress", ingress), ("egress", egress)) if rules is not None}
    return kubernetes.apiextensions.CustomResource(
        name,
        api_version="cilium.io/v2",
        kind="CiliumNetworkPolicy",
        metadata={
            "name": name,
            "namespace": namespace or environment.namespace,
            "labels": environment.names.owner_labels,
            "annotations": PATCH_FORCE,
        },
        spec={
            "endpointSelector": {"matchLabels": pods},
            **{direction: list(rules) or [{}] for direction, rules in directions.items()},
            **({} if restricts else {"enableDefaultDeny": dict.fromkeys(directions, False)}),
        },
        opts=opts,
    )


def _peer(labels: Labels, namespace: pulumi.Input[str] | None) -> Mapping[str, Any]:
    return {"matchLabels": {**labels, **({POD_NAMESPACE: namespace} if namespace is not None else {})}}
