"""Monitoring: a probe of the app's health, and alerts on what would otherwise fail silently.

Needs the CRDs of the Prometheus operator, kube-state-metrics, the kubelet's volume metrics and a blackbox exporter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi import ResourceOptions

from components.alerts import Watched, alerts, probe_job, public_probe_job
from components.backups import Backups
from components.database import CONTAINER
from components.database_metrics import DatabaseMetrics
from components.database_wires import DatabaseWires
from components.environment import Environment
from components.pods import PATCH_FORCE, core, meta
from components.recording_rules import recording_rules
from sdks import kubernetes
from settings import Settings
from settings.monitoring import MonitoringSettings
from settings.names import PROGRAM

_API: Final = "monitoring.coreos.com/v1"


@dataclass(frozen=True, kw_only=True)
class MonitoringArgs:
    """What to watch, and how: the other sections name the URLs to probe and the days on which tokens end."""

    settings: Settings
    monitoring: MonitoringSettings
    """The section `monitoring` of `settings`, which not every stack has."""
    environment: Environment
    database: DatabaseWires | None
    backups: Backups
    metrics: DatabaseMetrics


class Monitoring(pulumi.ComponentResource):
    """The Probe and the PrometheusRule, both named after the app."""

    def __init__(self, name: str, args: MonitoringArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:monitoring:Monitoring", name, None, opts)
        settings, names = args.monitoring, args.environment.names
        backup, offsite = args.backups.backup, args.backups.offsite
        delivery, token = args.settings.delivery, args.settings.service_token
        metadata = {
            "name": names.app,
            "namespace": args.environment.namespace,
            "labels": {**names.owner_labels, **settings.labels},
            "annotations": PATCH_FORCE,
        }
        watched = pulumi.Output.all(
            claims=[
                *([args.database.claim] if args.database else []),
                *(backup.watched_claims if backup else []),
            ],
            health_urls=args.settings.health_urls,
            runbook=args.settings.alerts_page,
            backup=backup.backup if backup else None,
            drill=backup.drill if backup else None,
            upload=offsite.upload if offsite else None,
            offsite_check=offsite.check if offsite else None,
            offsite_drill=offsite.drill if offsite else None,
            certificate_ends=args.database.certificate_ends if args.database else None,
        ).apply(
            lambda known: Watched(
                **known,
                names=names,
                database=args.database is not None,
                database_container=args.database.container if args.database else CONTAINER,
                database_pods=args.database.watched_pods if args.database else None,
                database_instances=args.database.instances if args.database else 1,
                alert_labels=settings.alert_labels,
                token_expires=delivery.pull_credentials.expires if delivery else None,
                pipeline_token_renewed=delivery.renew_token_by if delivery else None,
                service_token_expires=token.expires if token else None,
                public_urls=args.settings.public_health_urls if settings.public_module else (),
                database_metrics=args.metrics.exporter is not None,
                statements=settings.database_metrics is not None and settings.database_metrics.statements,
                instance_metrics=args.metrics.instances is not None,
                wal_archive=args.settings.wal is not None,
            )
        )
        kubernetes.apiextensions.CustomResource(
            "probe",
            api_version=_API,
            kind="Probe",
            metadata=metadata,
            spec=_probe(probe_job(names.namespace), "http_2xx", settings, args.settings.health_urls),
            opts=ResourceOptions(parent=self),
        )
        if settings.public_module:
            job = public_probe_job(names.namespace)
            kubernetes.apiextensions.CustomResource(
                "public-probe",
                api_version=_API,
                kind="Probe",
                metadata={**metadata, "name": f"{names.app}-public"},
                spec=_probe(job, settings.public_module, settings, args.settings.public_health_urls),
                opts=ResourceOptions(parent=self),
            )
        kubernetes.apiextensions.CustomResource(
            "alerts",
            api_version=_API,
            kind="PrometheusRule",
            metadata=metadata,
            # One group, whose rules Prometheus evaluates in order: the alerts read what was recorded just before.
            spec={
                "groups": [
                    {
                        "name": names.app,
                        "rules": watched.apply(lambda known: [*recording_rules(known), *alerts(known)]),
                    }
                ]
            },
            opts=ResourceOptions(parent=self),
        )
        if settings.dashboard:
            # Imported only for stacks that want a dashboard.
            from components.dashboard import SIDECAR, dashboard_json  # noqa: PLC0415

            core.ConfigMap(
                "dashboard",
                metadata=meta.ObjectMetaArgs(
                    name=names.dashboard,
                    namespace=args.environment.namespace,
                    labels={**names.owner_labels, **SIDECAR},
                    annotations=PATCH_FORCE,
                ),
                data={f"{names.app}.json": watched.apply(dashboard_json)},
                opts=ResourceOptions(parent=self),
            )
        self.register_outputs({})


def _probe(job: str, module: str, settings: MonitoringSettings, urls: Sequence[str]) -> dict[str, Any]:
    """Spec of a Probe: the blackbox exporter probes `urls` every minute with `module`."""
    return {
        "jobName": job,
        "interval": "60s",
        "module": module,
        "prober": {"url": settings.prober, "path": "/probe"},
        "targets": {"staticConfig": {"static": list(urls)}},
    }
