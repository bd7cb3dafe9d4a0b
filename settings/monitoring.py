"""`monitoring`: probe and alerts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from settings.section import Section
from settings.types import LabelKey, LabelValue, PageUrl, ServiceAddress


class MonitoringSettings(Section):
    """Probe and alerts of the Prometheus operator."""

    prober: ServiceAddress = "blackbox-exporter.monitoring.svc.cluster.local:9115"
    """host:port of the blackbox exporter's Service."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(min_length=1)] = Field(default={"release": "prometheus"})
    """Labels by which Prometheus selects probes and rules."""
    runbook: PageUrl | None = None
    """Where docs/alerts.md of this program is read; alerts link to its sections. Without it they name the file."""

    @property
    def prober_namespace(self) -> str:
        """Namespace of the blackbox exporter."""
        return self.prober.partition(":")[0].split(".")[1]
