"""The stack's Grafana dashboard, which the sidecar of Grafana's chart loads from a ConfigMap.

Its queries use the same sources as the alerts (blackbox exporter, kube-state-metrics, kubelet and, if the stack has it,
postgres_exporter) and what recording_rules.py derives from them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueTextMode, LegendDisplayMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Panel,
    Threshold,
    ThresholdsMode,
)

from components import instance_alerts
from components.ages import AHEAD_SECONDS
from components.alerts import (
    CERTIFICATE_DAYS,
    VOLUME_USED,
    Watched,
    last_check,
    probe_job,
    probed,
    unix_time,
    volume_selector,
)
from components.recording_rules import BACKUP_BYTES, BACKUP_ROWS, BACKUP_SECONDS, DURATION, VOLUME_BYTES
from settings.schedules import BACKUP_HOURS, CHECK_HOURS, DRILL_HOURS, RECOVERY

SIDECAR: Final = {"grafana_dashboard": "1"}
"""Label by which the sidecar of Grafana's Helm chart finds ConfigMaps, as kube-prometheus-stack configures it."""

_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_DAY: Final = 24 * 3600
_LONGEST_UID: Final = 40  # github.com/grafana/grafana, pkg/util/shortid_generator.go
_HEIGHT: Final = 7
_RATE: Final = "[$__rate_interval]"

Queries = Mapping[str, str]
"""PromQL by legend."""


def dashboard_json(watched: Watched) -> str:
    """The dashboard as Grafana imports it. The same `watched` always yields the same text."""
    made = (
        dashboard.Dashboard(f"{watched.names.app} ({watched.namespace})")
        .uid(_uid(watched.namespace))  # otherwise every change would create another dashboard and break bookmarks
        .tags([watched.names.project])
        .readonly()
        .timezone("browser")
        .refresh("1m")
        .time("now-24h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for title, panels in (
        ("Now", _now(watched)),
        ("App and database" if watched.database else "App", _pods(watched)),
        *([("PostgreSQL", _database(watched))] if watched.database_metrics else []),
        *([("Statements", _statements(watched))] if watched.statements else []),
        *([("PostgreSQL", _instances(watched))] if watched.instance_metrics else []),
        *([("Volumes and backups", _volumes(watched))] if watched.claims else []),
    ):
        made = made.with_row(dashboard.Row(title))
        for panel in panels:
            made = made.with_panel(panel)
    return json.dumps(made.build(), cls=JSONEncoder, sort_keys=True, indent=1)


def _uid(namespace: str) -> str:
    """The dashboard's UID. Grafana refuses more than 40 characters; a namespace has up to 63."""
    if len(namespace) <= _LONGEST_UID:
        return namespace
    return f"{namespace[: _LONGEST_UID - 9]}-{hashlib.sha256(namespace.encode()).hexdigest()[:8]}"


def _now(watched: Watched) -> Iterator[Builder[Panel]]:
    namespace, job = f'namespace="{watched.namespace}"', probed(probe_job(watched.namespace), watched.health_urls)
    yield _stat("Up", {"{{instance}}": f"probe_success{{{job}}}"}, colours={None: "red", 1: "green"})
    # kube-prometheus-stack sends alerts with severity `info` or `none` to nobody: one of them fires permanently for a
    # quota that just fits.
    firing = f'count(ALERTS{{{namespace}, alertstate="firing", severity!~"info|none"}}) or vector(0)'
    yield _stat("Alerts", {"firing": firing}, colours={None: "green", 1: "red"})
    # The panels fill a row of 24.
    wide = 4 if RECOVERY in watched.checks else 6
    yield _stat(
        "Image",
        # As the Deployment names it: a node may know the same image by another name, or only by its digest.
        {
            "{{image_spec}}": (
                f'group by (image_spec) (kube_pod_container_info{{{namespace}, container="{watched.containers[0]}"}})'
            )
        },
        names=True,
        width=wide,
    )
    days = {"certificate": f"min(probe_ssl_earliest_cert_expiry{{{job}}} - time()) / {_DAY}"}
    for _, name, day in watched.tokens:
        days[name.partition(" that ")[0].partition(" with ")[0]] = f"vector(({unix_time(day)} - time()) / {_DAY})"
    for title, hours in (("Since the last good check", CHECK_HOURS), ("Since the last good recovery", DRILL_HOURS)):
        checks = {
            check: f"time() - {last_check(watched, check)}" for check, most in watched.checks.items() if most == hours
        }
        if checks:
            yield _age(title, checks, hours=hours)
    yield _stat("Days until it ends", days, width=wide, colours={None: "red", 7: "orange", CERTIFICATE_DAYS: "green"})


def _pods(watched: Watched) -> Iterator[Builder[Panel]]:
    namespace, job = f'namespace="{watched.namespace}"', probed(probe_job(watched.namespace), watched.health_urls)
    containers = f'{namespace}, container=~"{"|".join(watched.containers)}"'
    yield _graph("Latency of the probe", {"{{instance}}": f"probe_duration_seconds{{{job}}}"}, unit="s")
    yield _graph(
        "Ready",
        {
            "app": f'kube_deployment_status_replicas_available{{{namespace}, deployment="{watched.containers[0]}"}}',
            **({"database": watched.database_ready} if watched.database else {}),
        },
    )
    yield _graph(
        "CPU, in cores",
        {
            "{{container}}": f"sum by (container) (rate(container_cpu_usage_seconds_total{{{containers}}}{_RATE}))",
            **_bounds(containers, "cpu"),
        },
    )
    yield _graph(
        "Memory",
        {
            "{{container}}": f"sum by (container) (container_memory_working_set_bytes{{{containers}}})",
            **_bounds(containers, "memory"),
        },
        unit="bytes",
    )
    yield _graph(
        "Network",
        {
            f"{{{{pod}}}} {way}": f"sum by (pod) (rate(container_network_{way}_bytes_total{{{namespace}}}{_RATE}))"
            for way in ("receive", "transmit")
        },
        unit="Bps",
    )
    yield _graph(
        "Restarts within an hour",
        {
            "{{container}}": (
                f"sum by (container) (increase(kube_pod_container_status_restarts_total{{{containers}}}[1h]))"
            )
        },
    )


def _database(watched: Watched) -> Iterator[Builder[Panel]]:
    namespace = f'namespace="{watched.namespace}"'
    yield _graph(
        "Connections",
        {
            "{{state}}": f"sum by (state) (pg_stat_activity_count{{{namespace}}})",
            "limit": f"max(pg_settings_max_connections{{{namespace}}})",
        },
    )
    yield _graph("Locks", {"{{mode}}": f"sum by (mode) (pg_locks_count{{{namespace}}})"})
    yield _graph(
        "Longest transaction",
        {"{{state}}": f"max by (state) (pg_stat_activity_max_tx_duration{{{namespace}}})"},
        unit="s",
    )
    yield _graph("Size", {"{{datname}}": f"max by (datname) (pg_database_size_bytes{{{namespace}}})"}, unit="bytes")
    hit, read = (f"sum(rate(pg_stat_database_blks_{part}{{{namespace}}}{_RATE}))" for part in ("hit", "read"))
    yield _graph("Found in the cache", {"of all blocks": f"{hit} / ({hit} + {read})"}, unit="percentunit")
    yield _graph(
        "Transactions a second",
        {part: f"sum(rate(pg_stat_database_xact_{part}{{{namespace}}}{_RATE}))" for part in ("commit", "rollback")},
    )


def _statements(watched: Watched) -> Iterator[Builder[Panel]]:
    # Without the database that the exporter itself connects to.
    of = f'namespace="{watched.namespace}", datname!="postgres"'
    seconds, calls = (
        f"sum by (queryid) (rate(pg_stat_statements_{part}_total{{{of}}}{_RATE}))" for part in ("seconds", "calls")
    )
    yield _graph("Slowest statements, one call", {"{{queryid}}": f"topk(5, {seconds} / {calls})"}, unit="s")
    yield _graph("Statements that take the most time", {"{{queryid}}": f"topk(5, {seconds})"}, unit="percentunit")


def _instances(watched: Watched) -> Iterator[Builder[Panel]]:
    for title, (queries, unit) in instance_alerts.panels(watched.namespace, rate=_RATE).items():
        yield _graph(title, dict(queries), **({"unit": unit} if unit else {}))


def _bounds(containers: str, resource: str) -> dict[str, str]:
    return {
        f"{{{{container}}}} {bound}": (
            f'max by (container) (kube_pod_container_resource_{bound}s{{{containers}, resource="{resource}"}})'
        )
        for bound in ("request", "limit")
    }


def _volumes(watched: Watched) -> Iterator[Builder[Panel]]:
    namespace, claims = f'namespace="{watched.namespace}"', volume_selector(watched)
    # The last known value: the kubelet measures the backup volume only for minutes a day.
    used, full = (f"last_over_time({name}{{{claims}}}[{BACKUP_HOURS}h])" for name in (VOLUME_BYTES, VOLUME_USED))
    yield _graph("Volumes, of their size", {"{{persistentvolumeclaim}}": full}, unit="percentunit")
    yield _graph("Volumes, used", {"{{persistentvolumeclaim}}": used}, unit="bytes")
    runs = {name: hours for _, name, hours in watched.cron_jobs}
    if not runs:
        return
    for name, hours in runs.items():
        good = f'kube_cronjob_status_last_successful_time{{{namespace}, cronjob="{name}"}}'
        yield _age(f"Since the last good {name}", {name: f"time() - {good}"}, hours=hours)
    for title, name, unit in (
        ("Rows, backed up and restored", BACKUP_ROWS, "none"),
        ("Dump", BACKUP_BYTES, "bytes"),
        ("Backed up and restored within", BACKUP_SECONDS, "s"),
    ):
        yield _graph(title, {"{{cronjob}}": f"{name}{{{namespace}}}"}, unit=unit)
    took = f'{DURATION}{{{namespace}, cronjob=~"{"|".join(runs)}"}}'
    yield _graph("How long the last good run took", {"{{cronjob}}": took}, unit="s")
    jobs = f'{namespace}, job_name=~"({"|".join(runs)})-.+"'
    yield _graph("Failed", {"{{job_name}}": f'kube_job_failed{{{jobs}, condition="true"}} == 1'})


def _stat(
    title: str,
    queries: Queries,
    *,
    unit: str = "none",
    colours: Mapping[float | None, str] | None = None,
    names: bool = False,
    width: int = 4,
) -> Builder[Panel]:
    """A number. `colours` apply from each value upwards, None is the lowest; `names` shows the legend instead."""
    panel = stat.Panel().title(title).unit(unit).datasource(_SOURCE).height(4).span(width).decimals(0)
    panel = panel.text_mode(BigValueTextMode.NAME if names else BigValueTextMode.AUTO)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if colours:
        steps = [Threshold(value=value, color=colour) for value, colour in colours.items()]
        panel = panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        panel = panel.color_mode(BigValueColorMode.BACKGROUND)
    for number, (legend, query) in enumerate(queries.items()):
        panel = panel.with_target(_query(number, legend, query).instant())
    return panel


def _age(title: str, queries: Queries, *, hours: int) -> Builder[Panel]:
    """Seconds since something, of which `hours` are too many; a time in the future is wrong, too."""
    return _stat(title, queries, unit="s", colours={None: "red", -AHEAD_SECONDS: "green", hours * 3600: "red"})


def _graph(title: str, queries: Queries, *, unit: str = "none") -> Builder[Panel]:
    panel = timeseries.Panel().title(title).unit(unit).datasource(_SOURCE).height(_HEIGHT).span(8).min(0)
    panel = panel.legend(common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).show_legend(show_legend=True))
    for number, (legend, query) in enumerate(queries.items()):
        panel = panel.with_target(_query(number, legend, query).range())
    return panel


def _query(number: int, legend: str, query: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query).legend_format(legend).ref_id(chr(ord("A") + number)).datasource(_SOURCE)
