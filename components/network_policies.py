"""NetworkPolicies: who may reach the app and the database, and whom they may reach; everything else is denied.

The backup's pods bring their own, and so does cloudflared's way out to the app. One component, as each policy names
both ends: the labels come from the components that own the pods.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi import ResourceOptions

from components.app import App
from components.backup import Backup
from components.database_wires import DatabaseWires
from components.environment import Environment
from components.instance_metrics import InstanceMetrics
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
from components.postgres_exporter import PostgresExporter
from settings import Settings
from settings.names import PROGRAM


@dataclass(frozen=True, kw_only=True)
class NetworkPoliciesArgs:
    """The pods of the stack, by their labels; the settings say who elsewhere reaches the app, and whom it calls."""

    settings: Settings
    environment: Environment
    app: App
    database: DatabaseWires | None
    other: DatabaseWires | None = None
    """The one beside it during a move: which of the two the app reaches, its URL says, and no other lets it in."""
    backup: Backup | None
    """None where the stack has no backups."""
    exporter: PostgresExporter | None
    """None where nobody reads the database's statistics, or its instances export them."""
    instance_metrics: InstanceMetrics | None = None
    """None where nobody reads them, or postgres_exporter does."""


class NetworkPolicies(pulumi.ComponentResource):
    """A CiliumNetworkPolicy for each kind of pod, default deny both ways."""

    def __init__(self, name: str, args: NetworkPoliciesArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:network_policies:NetworkPolicies", name, None, opts)
        child = ResourceOptions(parent=self)
        settings, environment, database = args.settings, args.environment, args.database
        app = args.app
        databases = [one for one in (database, args.other) if one]
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
        clients = [app.pods, app.migration_pods, *(each.pods for each in (args.backup, args.exporter) if each)]
        measured = [args.instance_metrics.ingress] if args.instance_metrics else []
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
