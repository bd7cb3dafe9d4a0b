"""PostgresExporter: PostgreSQL's own statistics for Prometheus, read with a role that can read nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.availability import lost_node_tolerations
from components.database import USER_ID
from components.database_address import AUTHORITY, DatabaseAddress
from components.database_wires import DatabaseWires
from components.environment import Environment
from components.network import from_kubelet, from_pods, network_policy, to_dns, to_pods
from components.pods import (
    PATCH_FORCE,
    Footprint,
    SecretData,
    container_resources,
    container_security,
    core,
    meta,
    pod_security,
    secret_variable,
)
from sdks import kubernetes
from settings.monitoring import DatabaseMetricsSettings, MonitoringSettings
from settings.names import PROGRAM

PASSWORD: Final = "monitor-password"  # noqa: S105 - the key in the Secret
IMAGE: Final = "quay.io/prometheuscommunity/postgres-exporter:v0.17.1"
PORT: Final = 9187

_SCRIPT: Final = Path(__file__).parent / "scripts" / "create-monitor-role.sh"
PROMETHEUS: Final = {"app.kubernetes.io/name": "prometheus"}  # as the operator labels the pods of each Prometheus


def create_role() -> list[str]:
    """Command that runs before the exporter. It contains the script, so that a changed script runs."""
    return ["sh", "-c", _SCRIPT.read_text(encoding="utf-8"), "create-monitor-role"]


@dataclass(frozen=True, kw_only=True)
class PostgresExporterArgs:
    """Settings and wires of the exporter."""

    settings: DatabaseMetricsSettings
    monitoring: MonitoringSettings
    """Names the Prometheus and the labels by which it selects."""
    environment: Environment
    database: DatabaseWires
    secret: SecretData
    """Has the key PASSWORD."""


class PostgresExporter(pulumi.ComponentResource):
    """The exporter with its Secret, network policy and PodMonitor."""

    pods: Mapping[str, str]
    """Labels of its pods."""

    @staticmethod
    def footprint(settings: MonitoringSettings | None) -> Footprint:
        """One pod, the old one stopped before the new one starts; nothing if there is no exporter."""
        wanted = settings.database_metrics if settings else None
        return Footprint.of(wanted.resources) if wanted else Footprint()

    def __init__(self, name: str, args: PostgresExporterArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:postgres_exporter:PostgresExporter", name, None, opts)
        environment, child = args.environment, ResourceOptions(parent=self)
        exporter = environment.names.exporter
        self.pods = {"app": exporter}
        prometheus = from_pods(PROMETHEUS, port=PORT, namespace=args.monitoring.prometheus_namespace)
        network_policy(
            exporter,
            environment=environment,
            pods=self.pods,
            ingress=[prometheus, from_kubelet(port=PORT)],
            egress=[to_dns(), to_pods(args.database.pods, port=args.database.port)],
            opts=child,
        )
        secret = core.Secret(
            "exporter-secret",
            metadata=environment.metadata(exporter),
            string_data={key: pulumi.Output.secret(value) for key, value in args.secret.values.items()},
            opts=child,
        )
        apps = kubernetes.apps.v1
        apps.Deployment(
            "exporter",
            metadata=environment.metadata(exporter),
            spec=apps.DeploymentSpecArgs(
                replicas=1,
                strategy=apps.DeploymentStrategyArgs(type="Recreate"),
                selector=meta.LabelSelectorArgs(match_labels=self.pods),
                template=core.PodTemplateSpecArgs(
                    metadata=meta.ObjectMetaArgs(
                        labels=environment.names.labels(exporter),
                        annotations={"checksum/monitor-password": args.secret.checksum},
                    ),
                    spec=_pod(args),
                ),
            ),
            opts=ResourceOptions(parent=self, depends_on=[secret]),
        )
        kubernetes.apiextensions.CustomResource(
            "exporter-monitor",
            api_version="monitoring.coreos.com/v1",
            kind="PodMonitor",
            metadata={
                "name": exporter,
                "namespace": environment.namespace,
                "labels": {**environment.names.owner_labels, **args.monitoring.labels},
                "annotations": PATCH_FORCE,
            },
            spec={
                "selector": {"matchLabels": self.pods},
                "podMetricsEndpoints": [{"port": "metrics", "interval": "30s"}],
            },
            opts=child,
        )
        self.register_outputs({})


def _pod(args: PostgresExporterArgs) -> core.PodSpecArgs:
    names, host, resources = args.environment.names, args.database.host, container_resources(args.settings.resources)
    address = DatabaseAddress.of(names)
    password = secret_variable("MONITOR_PASSWORD", secret=names.exporter, key=PASSWORD)
    create = core.ContainerArgs(
        name="create-role",
        image=args.database.image,
        command=create_role(),
        env=[
            core.EnvVarArgs(name="MONITOR_USER", value=names.monitor_role),
            password,
            core.EnvVarArgs(name="PGUSER", value=args.database.administrator),
            *args.database.connection(patience=10),
        ],
        resources=resources,
        security_context=container_security(read_only=True),
        volume_mounts=args.database.client_mounts or None,
    )
    # With `statements`, their view is in the database postgres, see count-statements.sh.
    database = "postgres" if args.settings.statements else address.database
    tls = f"verify-full&sslrootcert={AUTHORITY}" if args.database.authority is not None else "disable"
    exporter = core.ContainerArgs(
        name="postgres-exporter",
        image=IMAGE,
        args=["--collector.stat_statements"] if args.settings.statements else None,
        ports=[core.ContainerPortArgs(name="metrics", container_port=PORT)],
        env=[
            core.EnvVarArgs(
                name="DATA_SOURCE_URI",
                value=pulumi.Output.format(
                    "{0}:{1}/{2}?sslmode={3}&connect_timeout=10", host, args.database.port, database, tls
                ),
            ),
            core.EnvVarArgs(name="DATA_SOURCE_USER", value=names.monitor_role),
            secret_variable("DATA_SOURCE_PASS", secret=names.exporter, key=PASSWORD),
        ],
        resources=resources,
        security_context=container_security(read_only=True),
        volume_mounts=args.database.client_mounts or None,
        # A page without figures, for which the exporter does not ask the database.
        readiness_probe=_probe(),
        liveness_probe=_probe(),
    )
    return core.PodSpecArgs(
        automount_service_account_token=False,
        enable_service_links=False,
        tolerations=lost_node_tolerations(),
        # The user of the first image; the exporter's image runs as any user.
        security_context=pod_security(user=USER_ID, group=USER_ID),
        init_containers=[create],
        containers=[exporter],
        volumes=args.database.client_volumes or None,
    )


def _probe() -> core.ProbeArgs:
    return core.ProbeArgs(
        http_get=core.HTTPGetActionArgs(path="/", port="metrics"), period_seconds=10, timeout_seconds=3
    )
