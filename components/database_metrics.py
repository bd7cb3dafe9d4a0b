"""PostgreSQL's statistics for Prometheus, from an exporter's pod or from the instances themselves."""

from __future__ import annotations

from dataclasses import dataclass

from pulumi import ResourceOptions

from components.database_wires import DatabaseWires
from components.environment import Environment
from components.instance_metrics import InstanceMetrics, InstanceMetricsArgs
from components.postgres_exporter import PostgresExporter, PostgresExporterArgs
from lookups.stack import Found


@dataclass(frozen=True, kw_only=True)
class DatabaseMetrics:
    """At most one of the two; neither without `monitoring.databaseMetrics`."""

    exporter: PostgresExporter | None = None
    """For the StatefulSet's server."""
    instances: InstanceMetrics | None = None
    """For the instances of CloudNativePG."""


def create_database_metrics(
    found: Found, environment: Environment, database: DatabaseWires | None, opts: ResourceOptions
) -> DatabaseMetrics:
    """Creates what the section `monitoring.databaseMetrics` asks for."""
    settings, monitoring = found.settings.database_metrics, found.settings.monitoring
    if settings is None or monitoring is None or database is None:
        return DatabaseMetrics()
    if found.settings.operated_database:
        args = InstanceMetricsArgs(monitoring=monitoring, environment=environment)
        return DatabaseMetrics(instances=InstanceMetrics("instance-metrics", args, opts))
    if found.secrets.of_exporter is None:
        return DatabaseMetrics()
    exporter_args = PostgresExporterArgs(
        settings=settings,
        monitoring=monitoring,
        environment=environment,
        database=database,
        secret=found.secrets.of_exporter,
    )
    return DatabaseMetrics(exporter=PostgresExporter("postgres-exporter", exporter_args, opts))
