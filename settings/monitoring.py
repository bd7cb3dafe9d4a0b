"""`monitoring`: probe and alerts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from settings.references import SecretReference
from settings.section import Resources, Section
from settings.types import Form, LabelKey, LabelValue, Name, PageUrl, ServiceAddress

AlertLabel = Annotated[
    str,
    Form(
        r"(?!(?:alertname|severity|namespace)$|__)[a-zA-Z_][a-zA-Z0-9_]*",
        "a label name of Prometheus (letters, digits, _), and none of those that every alert has: alertname, severity, "
        "namespace",
        "team",
    ),
]


class DatabaseMetricsSettings(Section):
    """PostgreSQL's own statistics: exported by postgres_exporter, or by CloudNativePG's instances themselves, for which
    this section stays empty."""

    password: SecretReference | None = None
    """Password of the exporter's role: an op:// reference; the value is URL-safe."""
    statements: bool = False
    """Record the cost of each statement (pg_stat_statements), for the dashboard. A change restarts the database."""
    resources: Resources = Resources.of(cpu=("10m", "200m"), memory=("32Mi", "96Mi"))


class MonitoringSettings(Section):
    """Probe and alerts of the Prometheus operator."""

    prober: ServiceAddress = "blackbox-exporter-prometheus-blackbox-exporter.monitoring.svc.cluster.local:9115"
    """host:port of the blackbox exporter's Service; the default is that of its chart, for a release named
    `blackbox-exporter`."""
    public_module: Name | None = None
    """Module of the blackbox exporter that sends the headers of `access.public.serviceToken`; the public hostnames are
    then probed from outside (docs/public-access.md)."""
    prometheus: ServiceAddress = "prometheus-operated.monitoring.svc.cluster.local:9090"
    """host:port of Prometheus, as its operator names it; `python -m ops status` asks it which alerts are firing."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(min_length=1)] = Field(default={"release": "prometheus"})
    """Labels by which Prometheus selects probes and rules."""
    alert_labels: dict[AlertLabel, LabelValue] = Field(default={})
    """Additional labels of every alert, by which Alertmanager routes it, for example `team: home`."""
    dashboard: bool = False
    """Create a Grafana dashboard, in a ConfigMap with the label `grafana_dashboard: "1"`, which the sidecar of
    Grafana's chart loads."""
    database_metrics: DatabaseMetricsSettings | None = None
    """Run postgres_exporter beside the database. Without it, nothing counts the database's connections."""
    runbook: PageUrl | None = None
    """URL of this program's docs/alerts.md; alerts link to its sections. Default: that page in
    `repository.infrastructure.project`; without that, alerts have no link. Each alert names its section in any case."""

    @property
    def prometheus_namespace(self) -> str:
        """Namespace of Prometheus."""
        return self.prometheus.partition(":")[0].split(".")[1]
