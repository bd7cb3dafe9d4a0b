"""Alerts on what would otherwise fail silently, as Prometheus rules, and what they watch.

They need the metrics of blackbox exporter, kube-state-metrics and the kubelet.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from components import instance_alerts
from components.ages import too_old
from components.database import CONTAINER
from settings.names import Names
from settings.schedules import BACKUP_HOURS, DRILL_HOURS, scheduled_checks

CERTIFICATE_DAYS: Final = 14
"""Days before the route's certificate ends: cert-manager renews it with a third of its lifetime left, 30 of 90 days."""
_DAY_SECONDS: Final = 24 * 3600
_FULL: Final = 0.8

VOLUME_USED: Final = "namespace_persistentvolumeclaim:kubelet_volume_stats_used:ratio"
"""Metric from components/recording_rules.py: how full each volume is, from 0 to 1, while a pod mounts it."""


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What the alerts watch, with every name known. `backup` and `drill` are the names of the CronJobs."""

    names: Names
    claims: Sequence[str]
    database: bool = True
    """Whether the app has a database."""
    database_container: str = CONTAINER
    database_pods: str | None = None
    """Regular expression for the names of its pods, if no StatefulSet counts them."""
    database_instances: int = 1
    health_urls: Sequence[str] = ()
    alert_labels: Mapping[str, str] = field(default_factory=dict)
    token_expires: dt.date | None = None
    public_urls: Sequence[str] = ()
    """URLs to probe from the internet, through Access."""
    pipeline_token_renewed: dt.date | None = None
    """Day by which to renew the pipeline's token for the cluster."""
    service_token_expires: dt.date | None = None
    """Day by which to renew the service token of these probes."""
    certificate_ends: str | None = None
    """The day on which the database's certificate ends, ISO 8601."""
    runbook: str | None = None
    backup: str | None = None
    drill: str | None = None
    upload: str | None = None
    offsite_check: str | None = None
    offsite_drill: str | None = None
    database_metrics: bool = False
    """Whether postgres_exporter exports the database's statistics."""
    statements: bool = False
    """Whether it also exports what each statement costs."""
    instance_metrics: bool = False
    """Whether CloudNativePG's instances export the statistics themselves."""
    wal_archive: bool = False
    """Whether the instances archive their write-ahead log."""

    @property
    def cron_jobs(self) -> Iterator[tuple[str, str, int]]:
        """The scheduled ones: the part of their alerts' names, their name, and for how many hours a good run counts."""
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
    def checks(self) -> Mapping[str, int]:
        """Jobs of the pipeline that check this stack, and for how many hours a good run counts."""
        return scheduled_checks(archive=self.wal_archive)

    @property
    def tokens(self) -> Iterator[tuple[str, str, dt.date]]:
        """What ends on a known day: the part of its alerts' names, what it is, and that day."""
        certificate = dt.date.fromisoformat(self.certificate_ends) if self.certificate_ends else None
        for what, name, day in (
            ("DeployToken", "deploy token that pulls the image", self.token_expires),
            ("PipelineToken", "token with which the pipeline deploys", self.pipeline_token_renewed),
            ("ServiceToken", "service token that passes Access", self.service_token_expires),
            ("DatabaseCertificate", "certificate of the database", certificate),
        ):
            if day is not None:
                yield what, name, day

    @property
    def namespace(self) -> str:
        """The stack's namespace."""
        return self.names.namespace

    @property
    def containers(self) -> Sequence[str]:
        """Containers of the app and of the database, if it has one."""
        return (self.names.app, self.database_container) if self.database else (self.names.app,)

    @property
    def stateful_set(self) -> str:
        """The database's StatefulSet."""
        return self.names.database

    @property
    def database_ready(self) -> str:
        """PromQL for the number of the database's pods that are ready."""
        if self.database_pods is None:
            server = f'namespace="{self.namespace}", statefulset="{self.stateful_set}"'
            return f"kube_statefulset_status_replicas_ready{{{server}}}"
        # kube-state-metrics does not export Clusters, and two instances of it export each pod twice; without a ready
        # pod there is nothing to count.
        pods = f'namespace="{self.namespace}", pod=~"{self.database_pods}", condition="true"'
        return f"count(max by (pod) (kube_pod_status_ready{{{pods}}}) == 1) or vector(0)"


def alerts(watched: Watched) -> list[dict[str, Any]]:
    """The rules. Each also fires when what it watches has vanished, if silence could mean that all is well."""
    job = probed(probe_job(watched.namespace), watched.health_urls)
    up = f"probe_success{{{job}}}"
    outside = f"probe_success{{{probed(public_probe_job(watched.namespace), watched.public_urls)}}}"
    # So that the alert also notices when one of several vanishes.
    several = watched.health_urls if len(watched.health_urls) > 1 else ()
    unprobed = [up, *(f'probe_success{{job="{probe_job(watched.namespace)}", instance="{url}"}}' for url in several)]
    unprobed += [outside] if watched.public_urls else []
    certificate = f"probe_ssl_earliest_cert_expiry{{{job}}}"
    containers = f'namespace="{watched.namespace}", container=~"{"|".join(watched.containers)}"'
    restarted = f"increase(kube_pod_container_status_restarts_total{{{containers}}}[1h])"
    killed = f'kube_pod_container_status_last_terminated_reason{{{containers}, reason="OOMKilled"}} == 1'
    rules = [
        _alert(
            watched,
            "Down",
            # A URL that was probed within the last day and no longer is counts as down; one never probed does not.
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
        *([_public_alert(watched, outside)] if watched.public_urls else []),
        *([_database_alert(watched)] if watched.database else []),
        _alert(
            watched,
            "Restarts",
            # increase() extrapolates to the whole hour, so it yields a little more than there were.
            expr=f"round({restarted}) >= 3",
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
    for what, name, day in watched.tokens:
        rules += [
            _token_alert(watched, name, day, f"{what}EndsSoon", days=30, severity="warning"),
            _token_alert(watched, name, day, f"{what}Ends", days=7, severity="critical"),
        ]
    rules += [_check_alert(watched, check, hours) for check, hours in watched.checks.items()]
    if watched.database_metrics:
        rules += _metrics_alerts(watched)
    if watched.instance_metrics:
        rules += _instance_alerts(watched)
    for what, cron_job, hours in watched.cron_jobs:
        rules += _cron_job_alerts(watched, cron_job, what, hours=hours)
    return rules


def _database_alert(watched: Watched) -> dict[str, Any]:
    wanted = f'kube_statefulset_replicas{{namespace="{watched.namespace}", statefulset="{watched.stateful_set}"}}'
    return _alert(
        watched,
        "DatabaseNotReady",
        expr=f"({watched.database_ready}) < {watched.database_instances}"
        if watched.database_pods
        else f"{watched.database_ready} < {wanted} or absent({wanted})",
        for_="10m",
        severity="critical",
        summary="the database is not ready",
    )


def _volume_alert(watched: Watched) -> dict[str, Any]:
    return _alert(
        watched,
        "VolumeNearlyFull",
        # The kubelet reports a volume only while a pod uses it; for the backup volume, that is minutes a day.
        expr=f"last_over_time({VOLUME_USED}{{{volume_selector(watched)}}}[{BACKUP_HOURS}h]) > {_FULL}",
        for_="15m",
        severity="warning",
        summary=f"volume {{{{ $labels.persistentvolumeclaim }}}} is over {_FULL:.0%} full",
    )


def _metrics_alerts(watched: Watched) -> list[dict[str, Any]]:
    namespace = f'namespace="{watched.namespace}"'
    open_, most = (f"{name}{{{namespace}}}" for name in ("pg_stat_activity_count", "pg_settings_max_connections"))
    # A replacement pod has other labels: while two overlap, the higher count applies.
    near = f"max by (namespace) (sum by (namespace, pod) ({open_})) > {_FULL} * max by (namespace) ({most})"
    return _measured_alerts(watched, near=near, seen=f"pg_up{{{namespace}}}")


def _instance_alerts(watched: Watched) -> list[dict[str, Any]]:
    namespace = watched.namespace
    near = instance_alerts.near_limit(namespace, share=_FULL)
    rules = _measured_alerts(watched, near=near, seen=instance_alerts.up(namespace))
    if not watched.wal_archive:
        return rules
    return [
        *rules,
        _alert(
            watched,
            "LogNotArchived",
            expr=instance_alerts.not_archived(namespace),
            for_="15m",
            severity="critical",
            summary="the write-ahead log is not archived",
        ),
        _alert(
            watched,
            "BaseBackupTooOld",
            # The first base backup of a new database may take that long.
            expr=instance_alerts.base_backup_too_old(namespace),
            for_="1h",
            severity="critical",
            summary=f"the last good base backup is older than {BACKUP_HOURS} hours",
        ),
    ]


def _measured_alerts(watched: Watched, *, near: str, seen: str) -> list[dict[str, Any]]:
    return [
        _alert(
            watched,
            "ConnectionsNearLimit",
            expr=near,
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


def _token_alert(watched: Watched, token: str, day: dt.date, name: str, *, days: int, severity: str) -> dict[str, Any]:
    return _alert(
        watched,
        name,
        expr=f"vector({unix_time(day)} - time()) < {days * _DAY_SECONDS}",
        for_="0m",
        severity=severity,
        summary=f"the {token} is to be changed by {day}, within {days} days",
    )


def _public_alert(watched: Watched, outside: str) -> dict[str, Any]:
    return _alert(
        watched,
        "PublicDown",
        expr=f"{outside} == 0 or (last_over_time({outside}[1d]) unless {outside})",
        for_="10m",
        severity="critical",
        summary=f"{watched.names.app} does not answer from the internet",
    )


def last_check(watched: Watched, check: str) -> str:
    """PromQL for the time at which a scheduled check last passed; no result if it never has."""
    return f'max(kube_lease_renew_time{{lease="{watched.names.check_lease(check)}"}})'


def _check_alert(watched: Watched, check: str, hours: int) -> dict[str, Any]:
    return _alert(
        watched,
        f"{check.capitalize()}TooOld",
        # A stack that no pipeline checks has no such Lease.
        expr=too_old(last_check(watched, check), hours=hours),
        for_="15m",
        severity="warning",
        summary=f"the pipeline's job {check} has not passed for {hours} hours",
    )


def _cron_job_alerts(watched: Watched, cron_job: str, what: str, *, hours: int) -> list[dict[str, Any]]:
    selector = f'namespace="{watched.namespace}", cronjob="{cron_job}"'
    good = f"max by (namespace) (kube_cronjob_status_last_successful_time{{{selector}}})"
    # A CronJob that never succeeded has no such time; then its age counts.
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
            expr=f"{too_old(since, hours=hours)} or absent(kube_cronjob_created{{{selector}}})",
            for_="15m",
            severity="critical",
            summary=f"the last good run of {cron_job} is older than {hours} hours",
        ),
        _alert(
            watched,
            f"{what}Failed",
            # Failed Jobs are kept for their logs: only one without a later success matters.
            expr=f"{failed} unless on (namespace) ({good} > on (namespace) {failed})",
            for_="0m",
            severity="warning",
            summary=f"a Job of {cron_job} failed",
        ),
    ]


def volume_selector(watched: Watched) -> str:
    """Label matchers for the recorded metrics of this stack's volumes."""
    return f'namespace="{watched.namespace}", persistentvolumeclaim=~"{"|".join(watched.claims)}"'


def probed(job: str, urls: Sequence[str]) -> str:
    """Label matchers for the results of a Probe for these URLs, with which the operator labels each result.

    So a URL that is no longer probed, because the settings name another, counts neither as down nor as unprobed.
    """
    named = f", instance=~`{'|'.join(map(re.escape, urls))}`" if urls else ""
    return f'job="{job}"{named}'


def probe_job(namespace: str) -> str:
    """Prometheus' label `job` of the probe."""
    return f"{namespace}-health"


def public_probe_job(namespace: str) -> str:
    """Prometheus' label `job` of the probe from outside."""
    return f"{namespace}-public"


def unix_time(day: dt.date) -> int:
    """Unix time at which the day begins, in UTC: the alerts assume that a token ends when its last day begins."""
    return int(dt.datetime.combine(day, dt.time(), dt.UTC).timestamp())


def _alert(watched: Watched, name: str, *, expr: str, for_: str, severity: str, summary: str) -> dict[str, Any]:
    return {
        "alert": f"{watched.names.alerts}{name}",
        "expr": expr,
        "for": for_,
        "labels": {**watched.alert_labels, "severity": severity, "namespace": watched.namespace},
        "annotations": {
            "summary": f"{summary} ({watched.namespace})",
            "description": f"What to do: docs/alerts.md of this program, {name}",
            # A link that leads nowhere is worse than none.
            **({"runbook_url": f"{watched.runbook}#{name.lower()}"} if watched.runbook else {}),
        },
    }
