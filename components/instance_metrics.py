"""InstanceMetrics: PostgreSQL's statistics, exported by CloudNativePG's instances themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.cloudnative_pg import CLUSTER_LABEL
from components.environment import Environment
from components.network import Rule, from_pods
from components.pods import PATCH_FORCE
from components.postgres_exporter import PROMETHEUS
from sdks import kubernetes
from settings.monitoring import MonitoringSettings
from settings.names import PROGRAM

PORT: Final = 9187
_INSTANCES: Final = {"cnpg.io/podRole": "instance"}
"""Excludes the Jobs that create an instance, which export nothing."""


@dataclass(frozen=True, kw_only=True)
class InstanceMetricsArgs:
    """Settings and wires of the metrics."""

    monitoring: MonitoringSettings
    environment: Environment


class InstanceMetrics(pulumi.ComponentResource):
    """The PodMonitor. The operator could create one, but not with the labels by which Prometheus selects it."""

    ingress: Rule
    """Rule that the instances' network policy needs, for Prometheus."""

    def __init__(self, name: str, args: InstanceMetricsArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:instance_metrics:InstanceMetrics", name, None, opts)
        environment, names = args.environment, args.environment.names
        self.ingress = from_pods(PROMETHEUS, port=PORT, namespace=args.monitoring.prometheus_namespace)
        kubernetes.apiextensions.CustomResource(
            "instance-monitor",
            api_version="monitoring.coreos.com/v1",
            kind="PodMonitor",
            metadata={
                "name": names.database,
                "namespace": environment.namespace,
                "labels": {**names.owner_labels, **args.monitoring.labels},
                "annotations": PATCH_FORCE,
            },
            spec={
                "selector": {"matchLabels": {CLUSTER_LABEL: names.database, **_INSTANCES}},
                "podMetricsEndpoints": [{"port": "metrics", "interval": "30s"}],
            },
            opts=ResourceOptions(parent=self),
        )
        self.register_outputs({})
