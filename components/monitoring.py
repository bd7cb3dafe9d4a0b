"""Monitoring: a probe of the app's health, and the alerts on what fails silently otherwise.

Needs the CRDs of the Prometheus operator, kube-state-metrics, the kubelet's volume metrics and a blackbox exporter.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pulumi
from pulumi import ResourceOptions

from components.backup import Backup
from components.database import CONTAINER
from components.database_wires import DatabaseWires
from components.environment import Environment
from components.offsite import Offsite
from components.pods import PATCH_FORCE, core, meta
from components.postgres_exporter import PostgresExporter
from sdks import kubernetes
from settings import Settings
from settings.monitoring import MonitoringSettings
from settings.names import PROGRAM, Names
from settings.schedules import BACKUP_HOURS, DRILL_HOURS

CERTIFICATE_DAYS: Final = 14
"""Days before the end of the route's certificate: cert-manager renews a third of its life before, 30 days of 90."""
_DAY_SECONDS: Final = 24 * 3600
_API: Final = "monitoring.coreos.com/v1"
_FULL: Final = 0.8


@dataclass(frozen=True, kw_only=True)
class MonitoringArgs:
    """What is watched, and how: the stack's other sections name the URLs to probe and the day a token ends."""

    settings: Settings
    monitoring: MonitoringSettings
    """The section of those settings, which not every stack has."""
    environment: Environment
    database: DatabaseWires | None
    backup: Backup | None
    """None where the stack has no backups."""
    offsite: Offsite | None
    """None where the stack has no off-site copies."""
    exporter: PostgresExporter | None
    """None where nobody reads the database's statistics."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What the alerts look at, with every name known. `backup` and `drill` are the names of the CronJobs."""

    names: Names
    claims: Sequence[str]
    database: bool = True
    """Whether the app has one."""
    database_container: str = CONTAINER
    database_pods: str | None = None
    """Regular expression of its pods, where no StatefulSet counts them."""
    database_instances: int = 1
    health_urls: Sequence[str] = ()
    alert_labels: Mapping[str, str] = field(default_factory=dict)
    token_expires: dt.date | None = None
    runbook: str | None = None
    backup: str | None = None
    drill: str | None = None
    upload: str | None = None
    offsite_check: str | None = None
    offsite_drill: str | None = None
    database_metrics: bool = False

    @property
    def cron_jobs(self) -> Iterator[tuple[str, str, int]]:
        """Those that run by themselves: the part of their alerts' names, their name, and the hours a good run lasts."""
        for what, name, hours in (
            ("Backup", self.backup, BACKUP_HOURS),
            ("Drill", self.drill, DRILL_HOURS),
            ("Upload", self.upload, BACKUP_HOURS),
            ("OffsiteCheck", self.offsite_check, DRILL_HOURS),
            ("OffsiteDrill", self.offsite_drill, DRILL_HOURS),
        ):
            if name is not None:
                yield what, name, hours

    @property
    def token_ends(self) -> int | None:
        """Unix time at which the deploy token ends: as its last day begins, in UTC."""
        if self.token_expires is None:
            return None
        return int(dt.datetime.combine(self.token_expires, dt.time(), dt.UTC).timestamp())

    @property
    def namespace(self) -> str:
        """The stack's."""
        return self.names.namespace

    @property
    def containers(self) -> Sequence[str]:
        """Of the app and of the database, if any."""
        return (self.names.app, self.database_container) if self.database else (self.names.app,)

    @property
    def stateful_set(self) -> str:
        """Of the database."""
        return self.names.database

    @property
    def database_ready(self) -> str:
        """PromQL of how many pods of the database are ready."""
        if self.database_pods is None:
            server = f'namespace="{self.namespace}", statefulset="{self.stateful_set}"'
            return f"kube_statefulset_status_replicas_ready{{{server}}}"
        # kube-state-metrics knows no Cluster; where no pod is ready there is nothing to count.
        pods = f'namespace="{self.namespace}", pod=~"{self.database_pods}", condition="true"'
        return f"count(kube_pod_status_ready{{{pods}}} == 1) or vector(0)"


class Monitoring(pulumi.ComponentResource):
    """The Probe and the PrometheusRule, both named after the app."""

    def __init__(self, name: str, args: MonitoringArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:monitoring:Monitoring", name, None, opts)
        settings, names, backup = args.monitoring, args.environment.names, args.backup
        delivery = args.settings.delivery
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
            upload=args.offsite.upload if args.offsite else None,
            offsite_check=args.offsite.check if args.offsite else None,
            offsite_drill=args.offsite.drill if args.offsite else None,
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
                database_metrics=args.exporter is not None,
            )
        )
        kubernetes.apiextensions.CustomResource(
            "probe",
            api_version=_API,
            kind="Probe",
            metadata=metadata,
            spec={
                "jobName": probe_job(names.namespace),
                "interval": "60s",
                "module": "http_2xx",
                "prober": {"url": settings.prober, "path": "/probe"},
                "targets": {"staticConfig": {"static": args.settings.health_urls}},
            },
            opts=ResourceOptions(parent=self),
        )
        kubernetes.apiextensions.CustomResource(
            "alerts",
            api_version=_API,
            kind="PrometheusRule",
            metadata=metadata,
            spec={"groups": [{"name": names.app, "rules": watched.apply(alerts)}]},
            opts=ResourceOptions(parent=self),
        )
        if settings.dashboard:
            # What makes dashboards is imported for those who want one.
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


def alerts(watched: Watched) -> list[dict[str, Any]]:
    """The rules. Each also fires when what it looks at has vanished, where silence could mean that all is well."""
    job = f'job="{probe_job(watched.namespace)}"'
    up = f"probe_success{{{job}}}"
    # The operator labels a probe's result with what was asked for: one of several that vanishes is seen, too.
    several = watched.health_urls if len(watched.health_urls) > 1 else ()
    unprobed = [up, *(f'probe_success{{{job}, instance="{url}"}}' for url in several)]
    certificate = f"probe_ssl_earliest_cert_expiry{{{job}}}"
    containers = f'namespace="{watched.namespace}", container=~"{"|".join(watched.containers)}"'
    restarted = f"increase(kube_pod_container_status_restarts_total{{{containers}}}[1h])"
    killed = f'kube_pod_container_status_last_terminated_reason{{{containers}, reason="OOMKilled"}} == 1'
    rules = [
        _alert(
            watched,
            "Down",
            # What was probed within the last day and is no longer counts as down; what never was, does not.
            expr=f"{up} == 0 or (last_over_time({up}[1d]) unless {up})",
            for_="5m",
            severity="critical",
            summary=f"{watched.names.app} does not answer its health check",
        ),
        _alert(
            watched,
            "NotProbed",
            expr=" or ".join(f"absent({each})" for each in unprobed),
            for_="1h",
            severity="warning",
            summary=f"{watched.names.app} is not probed",
        ),
        _alert(
            watched,
            "CertificateEnds",
            expr=f"{certificate} - time() < {CERTIFICATE_DAYS * _DAY_SECONDS}",
            for_="1h",
            severity="warning",
            summary=f"a certificate that the route shows ends within {CERTIFICATE_DAYS} days",
        ),
        *([_database_alert(watched)] if watched.database else []),
        _alert(
            watched,
            "Restarts",
            expr=f"{restarted} > 2",
            for_="0m",
            severity="warning",
            summary="container {{ $labels.container }} has restarted three times within an hour",
        ),
        _alert(
            watched,
            "OutOfMemory",
            expr=f"({killed}) and on (namespace, pod, container) {restarted} > 0",
            for_="0m",
            severity="warning",
            summary="container {{ $labels.container }} was killed for its memory",
        ),
        *([_volume_alert(watched)] if watched.claims else []),
    ]
    if watched.token_ends is not None:
        rules += [
            _token_alert(watched, watched.token_ends, "DeployTokenEndsSoon", days=30, severity="warning"),
            _token_alert(watched, watched.token_ends, "DeployTokenEnds", days=7, severity="critical"),
        ]
    if watched.database_metrics:
        rules += _metrics_alerts(watched)
    for what, cron_job, hours in watched.cron_jobs:
        rules += _cron_job_alerts(watched, cron_job, what, hours=hours)
    return rules


def _database_alert(watched: Watched) -> dict[str, Any]:
    server = f'namespace="{watched.namespace}", statefulset="{watched.stateful_set}"'
    return _alert(
        watched,
        "DatabaseNotReady",
        expr=f"({watched.database_ready}) < {watched.database_instances}"
        if watched.database_pods
        else f"{watched.database_ready} < kube_statefulset_replicas{{{server}}}",
        for_="10m",
        severity="critical",
        summary="the database is not ready",
    )


def _volume_alert(watched: Watched) -> dict[str, Any]:
    return _alert(
        watched,
        "VolumeNearlyFull",
        expr=_volume_nearly_full(watched),
        for_="15m",
        severity="warning",
        summary=f"volume {{{{ $labels.persistentvolumeclaim }}}} is over {_FULL:.0%} full",
    )


def _metrics_alerts(watched: Watched) -> list[dict[str, Any]]:
    namespace = f'namespace="{watched.namespace}"'
    open_, most = (f"{name}{{{namespace}}}" for name in ("pg_stat_activity_count", "pg_settings_max_connections"))
    seen = f"pg_up{{{namespace}}}"
    return [
        _alert(
            watched,
            "ConnectionsNearLimit",
            # One pod takes another's place with other labels: of two that overlap, the one that sees more counts.
            expr=f"max by (namespace) (sum by (namespace, pod) ({open_})) > {_FULL} * max by (namespace) ({most})",
            for_="10m",
            severity="warning",
            summary=f"over {_FULL:.0%} of the database's connections are open",
        ),
        _alert(
            watched,
            "DatabaseNotMeasured",
            expr=f"max by (namespace) ({seen}) == 0 or absent({seen})",
            for_="30m",
            severity="warning",
            summary="nobody reads the database's statistics",
        ),
    ]


def _token_alert(watched: Watched, end: int, name: str, *, days: int, severity: str) -> dict[str, Any]:
    return _alert(
        watched,
        name,
        expr=f"vector({end} - time()) < {days * _DAY_SECONDS}",
        for_="0m",
        severity=severity,
        summary=f"the deploy token that pulls the image ends on {watched.token_expires}, within {days} days",
    )


def _cron_job_alerts(watched: Watched, cron_job: str, what: str, *, hours: int) -> list[dict[str, Any]]:
    selector = f'namespace="{watched.namespace}", cronjob="{cron_job}"'
    good = f"max by (namespace) (kube_cronjob_status_last_successful_time{{{selector}}})"
    # A CronJob that never succeeded has no such time; its age counts then.
    since = f"({good} or max by (namespace) (kube_cronjob_created{{{selector}}}))"
    jobs = f'namespace="{watched.namespace}", job_name=~"{cron_job}-.+"'
    failed = (
        f"max by (namespace) (kube_job_status_start_time{{{jobs}}}"
        f' and on (namespace, job_name) (kube_job_failed{{{jobs}, condition="true"}} == 1))'
    )
    return [
        _alert(
            watched,
            f"{what}TooOld",
            expr=f"time() - {since} > {hours * 3600} or absent(kube_cronjob_created{{{selector}}})",
            for_="15m",
            severity="critical",
            summary=f"the last good run of {cron_job} is older than {hours} hours",
        ),
        _alert(
            watched,
            f"{what}Failed",
            # Failed Jobs are kept for their logs: only one that nothing good has followed is news.
            expr=f"{failed} unless on (namespace) ({good} > on (namespace) {failed})",
            for_="0m",
            severity="warning",
            summary=f"a Job of {cron_job} failed",
        ),
    ]


def _volume_nearly_full(watched: Watched) -> str:
    selector = f'namespace="{watched.namespace}", persistentvolumeclaim=~"{"|".join(watched.claims)}"'
    # The kubelet reports a volume only while a pod uses it, which the backups' is for minutes a day. What is seen now
    # counts first, though: a pod that has moved leaves behind what its old node saw last.
    used, size = (f"kubelet_volume_stats_{part}_bytes{{{selector}}}" for part in ("used", "capacity"))
    now = f"max by (namespace, persistentvolumeclaim) ({used} / {size})"
    lately = (
        f"max by (namespace, persistentvolumeclaim)"
        f" (last_over_time({used}[{BACKUP_HOURS}h]) / last_over_time({size}[{BACKUP_HOURS}h]))"
    )
    return f"({now} or {lately}) > {_FULL}"


def probe_job(namespace: str) -> str:
    """Prometheus' `job` of the probe."""
    return f"{namespace}-health"


def _alert(watched: Watched, name: str, *, expr: str, for_: str, severity: str, summary: str) -> dict[str, Any]:
    return {
        "alert": f"{watched.names.alerts}{name}",
        "expr": expr,
        "for": for_,
        "labels": {**watched.alert_labels, "severity": severity, "namespace": watched.namespace},
        "annotations": {
            "summary": f"{summary} ({watched.namespace})",
            # A link that leads nowhere is worse than none.
            **({"runbook_url": f"{watched.runbook}#{name.lower()}"} if watched.runbook else {}),
        },
    }
