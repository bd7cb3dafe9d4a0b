"""Cilium network policies: who may reach a pod and whom it may reach, everything else denied both ways.

A CiliumNetworkPolicy that has an `ingress` (or `egress`) section puts the pods it selects into default deny for that
direction (docs.cilium.io, "Policy Enforcement Modes"); an empty rule in the section allows nothing more, as in the
policies `deny-all-ingress` and `deny-all-egress` of Cilium's own connectivity tests. What comes of all of them together
is in docs/network.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pulumi

from components.environment import Environment
from components.pods import PATCH_FORCE
from sdks import kubernetes

POD_NAMESPACE: Final = "k8s:io.kubernetes.pod.namespace"
"""Label under which Cilium knows a pod's namespace."""

Labels = Mapping[str, pulumi.Input[str]]
Rule = Mapping[str, Any]


def _ports(*ports: pulumi.Input[int], protocols: Sequence[str] = ("TCP",)) -> list[dict[str, Any]]:
    # A string, as the CRD wants it; an Output of a number is turned into one only once it is known.
    listed = [
        {"port": pulumi.Output.from_input(port).apply(lambda number: str(int(number))), "protocol": protocol}
        for port in ports
        for protocol in protocols
    ]
    return [{"ports": listed}]


def from_pods(labels: Labels, *, port: pulumi.Input[int], namespace: pulumi.Input[str] | None = None) -> Rule:
    """Ingress from the pods with these labels, of the policy's own namespace where no other is named."""
    return {"fromEndpoints": [_peer(labels, namespace)], "toPorts": _ports(port)}


def to_pods(labels: Labels, *, port: pulumi.Input[int], namespace: pulumi.Input[str] | None = None) -> Rule:
    """Egress to the pods with these labels, of the policy's own namespace where no other is named."""
    return {"toEndpoints": [_peer(labels, namespace)], "toPorts": _ports(port)}


def from_gateway(*, port: pulumi.Input[int]) -> Rule:
    """Ingress from Cilium's Gateway: its proxy has the reserved identity `ingress`, in no namespace."""
    return {"fromEntities": ["ingress"], "toPorts": _ports(port)}


def from_kubelet(*, port: pulumi.Input[int]) -> Rule:
    """Ingress from the pod's own node, where the kubelet's probes come from."""
    return {"fromEntities": ["host"], "toPorts": _ports(port)}


def to_dns(*, learn_names: bool = False) -> Rule:
    """Egress to the cluster's DNS.

    `learn_names` sends it through Cilium's DNS proxy, without which `to_names` would match nothing. The proxy is the
    agent's: while that restarts, nothing resolves. So it stands only where names are allowed.
    """
    ports: dict[str, Any] = {"ports": [{"port": "53", "protocol": "UDP"}, {"port": "53", "protocol": "TCP"}]}
    if learn_names:
        ports["rules"] = {"dns": [{"matchPattern": "*"}]}
    return {
        "toEndpoints": [{"matchLabels": {POD_NAMESPACE: "kube-system", "k8s-app": "kube-dns"}}],
        "toPorts": [ports],
    }


def to_api_server() -> Rule:
    """Egress to the API server, at whatever address and port the cluster's Service leads to."""
    return {"toEntities": ["kube-apiserver"]}


def to_names(names: Sequence[str], *, port: int = 443) -> Rule:
    """Egress over HTTPS to the hosts of these names, wherever DNS says they are."""
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
    """The CiliumNetworkPolicy `name` of the pods labelled `pods`.

    A direction without rules allows nothing; None leaves it to the other policies of these pods. One that does not
    restrict only adds to what they may do, also where no other policy selects them (Cilium 1.16). `namespace` is where
    it stands, where that is not the stack's own.
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
