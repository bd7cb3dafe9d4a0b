"""NetworkPolicies: who may reach the app and the database, and whom they may reach; everything else is denied.

Other components create the policies of the backup's pods and for cloudflared's egress to the app. This is one component
because each policy names both ends: the labels come from the components that own the pods.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi import ResourceOptions

from components.app import App
from components.backup import Backup
from components.database_metrics import DatabaseMetrics
from components.databases import Databases
from components.environment import Environment
from components.network import (
    Rule,
    from_gateway,
    from_kubelet,
    from_pods,
    network_policy,
    to_dns,
    to_names,
    to_pods,
)
from settings import Settings
from settings.names import PROGRAM


@dataclass(frozen=True, kw_only=True)
class NetworkPoliciesArgs:
    """The stack's pods, by their labels; the settings name who else reaches the app, and whom it calls."""

    settings: Settings
    environment: Environment
    app: App
    databases: Databases
    """During a move, the app may reach both; its URL decides which one it uses."""
    backup: Backup | None
    """None if the stack has no backups."""
    metrics: DatabaseMetrics


class NetworkPolicies(pulumi.ComponentResource):
    """A CiliumNetworkPolicy for each kind of pod, default deny both ways."""

    def __init__(self, name: str, args: NetworkPoliciesArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:network_policies:NetworkPolicies", name, None, opts)
        child = ResourceOptions(parent=self)
        settings, environment, app, metrics = args.settings, args.environment, args.app, args.metrics
        database = args.databases.live
        databases = [one for one in (database, args.databases.other) if one]
        to_database = [to_pods(one.pods, port=one.port) for one in databases]
        ingress: list[pulumi.Input[Rule]] = [from_gateway(port=app.port), from_kubelet(port=app.port)]
        if settings.access.public:
            tunnel = settings.access.public.cloudflared
            ingress.append(from_pods(tunnel.pod_labels, port=app.port, namespace=tunnel.namespace))
        outside = [to_names(settings.app.egress)] if settings.app.egress else []
        network_policy(
            environment.names.app,
            environment=environment,
            pods=app.pods,
            ingress=ingress,
            egress=[to_dns(learn_names=bool(outside)), *to_database, *outside],
            opts=child,
        )
        if database:
            network_policy(
                environment.names.migration,
                environment=environment,
                pods=app.migration_pods,
                egress=[to_dns(), *to_database],
                opts=child,
            )
        clients = [app.pods, app.migration_pods, *(each.pods for each in (args.backup, metrics.exporter) if each)]
        measured = [metrics.instances.ingress] if metrics.instances else []
        for one in databases:
            network_policy(
                environment.names.database if one is database else environment.names.other_database,
                environment=environment,
                pods=one.pods,
                ingress=[
                    *(from_pods(pods, port=one.port) for pods in clients),
                    *one.ingress,
                    *(measured if one is database else ()),
                ],
                egress=one.egress,
                opts=child,
            )
        if database and database.recovered and args.backup:
            recovered = database.recovered
            network_policy(
                environment.names.recovered,
                environment=environment,
                pods=recovered.pods,
                ingress=[from_pods(args.backup.pods, port=recovered.port), *recovered.ingress],
                egress=recovered.egress,
                opts=child,
            )
        self.register_outputs({})
