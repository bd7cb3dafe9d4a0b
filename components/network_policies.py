"""NetworkPolicies: who may reach the app and the database, and whom they may reach; everything else is denied.

The backup's pods bring their own, and so does cloudflared's way out to the app. One component, as each policy names
both ends: the labels come from the components that own the pods.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pulumi
from pulumi import ResourceOptions

from components.network import (
    Rule,
    from_gateway,
    from_kubelet,
    from_namespace,
    from_pods,
    network_policy,
    to_dns,
    to_names,
    to_pods,
)

Pods = pulumi.Input[Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class NetworkPoliciesArgs:
    """The pods of the stack, by their labels, and those elsewhere that reach the app."""

    namespace: pulumi.Input[str]
    app_pods: Pods
    app_port: pulumi.Input[int]
    migration_pods: Pods
    database_pods: Pods
    database_port: pulumi.Input[int]
    backup_pods: Pods | None
    """None where the stack has no backups."""
    app_egress: Sequence[str]
    """Hosts on the internet that the app may call over HTTPS."""
    prober_namespace: str | None
    """Where the probes of the app's health come from."""
    cloudflared: tuple[str, Mapping[str, str]] | None
    """Namespace and labels of the tunnel's connector, where the app is public."""


class NetworkPolicies(pulumi.ComponentResource):
    """A CiliumNetworkPolicy for each kind of pod, default deny both ways."""

    def __init__(self, name: str, args: NetworkPoliciesArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("invoicetron:network_policies:NetworkPolicies", name, None, opts)
        child = ResourceOptions(parent=self)
        to_database = _with(args.database_pods, lambda pods: to_pods(pods, port=args.database_port))
        ingress: list[pulumi.Input[Rule]] = [from_gateway(port=args.app_port), from_kubelet(port=args.app_port)]
        if args.prober_namespace is not None:
            ingress.append(from_namespace(args.prober_namespace, port=args.app_port))
        if args.cloudflared is not None:
            namespace, labels = args.cloudflared
            ingress.append(from_pods(labels, port=args.app_port, namespace=namespace))
        outside = [to_names(args.app_egress)] if args.app_egress else []
        network_policy(
            "invoicetron",
            namespace=args.namespace,
            pods=args.app_pods,
            ingress=ingress,
            egress=[to_dns(learn_names=bool(outside)), to_database, *outside],
            opts=child,
        )
        network_policy(
            "invoicetron-migrate",
            namespace=args.namespace,
            pods=args.migration_pods,
            egress=[to_dns(), to_database],
            opts=child,
        )
        clients = [args.app_pods, args.migration_pods, *([args.backup_pods] if args.backup_pods else [])]
        network_policy(
            "invoicetron-db",
            namespace=args.namespace,
            pods=args.database_pods,
            ingress=[_with(pods, lambda labels: from_pods(labels, port=args.database_port)) for pods in clients],
            opts=child,
        )
        self.register_outputs({})


def _with(pods: Pods, rule: Callable[[Mapping[str, str]], Rule]) -> pulumi.Output[Rule]:
    return pulumi.Output.from_input(pods).apply(lambda labels: rule(dict(labels)))
