"""The alerts on what CloudNativePG's instances export, under `promtool test rules`, with metrics that they have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from components.instance_alerts import panels
from rehearsal import optional_tools
from tests.rehearsal.test_alerts import AHEAD, HOUR, NEVER, Case, Steps, assert_fires, fires, rules_of
from tests.unit.program import Program, run
from tests.unit.test_instance_metrics import ARCHIVED
from tests.unit.test_wal_archive import VALUES

NEAR_LIMIT, NOT_MEASURED = "InvoicetronConnectionsNearLimit", "InvoicetronDatabaseNotMeasured"
NOT_ARCHIVED, BASE_BACKUP = "InvoicetronLogNotArchived", "InvoicetronBaseBackupTooOld"
NOT_READY: Final = "InvoicetronDatabaseNotReady"
PRIMARY, STANDBY = "invoicetron-db-1", "invoicetron-db-2"


def of(pod: str, **labels: str) -> str:
    """The labels that the PodMonitor and the exporter give."""
    given = {"namespace": "invoicetron-prod", "pod": pod, "container": "postgres", "endpoint": "metrics", **labels}
    return ", ".join(f'{key}="{value}"' for key, value in given.items())


def connections(pod: str, state: str = "idle") -> str:
    # The default queries' `backends`.
    labels = of(pod, datname="invoicetron", usename="invoicetron", application_name="", state=state)
    return f"cnpg_backends_total{{{labels}}}"


def limit(pod: str) -> str:
    return f"cnpg_pg_settings_setting{{{of(pod, name='max_connections')}}}"


def up(pod: str) -> str:
    # The collector's own (pkg/management/postgres/webserver/metricserver/pg_collector.go), as in `waiting`.
    return f"cnpg_collector_up{{{of(pod, cluster='invoicetron-db')}}}"


def in_recovery(pod: str) -> str:
    return f"cnpg_pg_replication_in_recovery{{{of(pod)}}}"


def waiting(pod: str) -> str:
    return f"cnpg_collector_pg_wal_archive_status{{{of(pod, value='ready')}}}"


def archiver(pod: str, what: str) -> str:
    return f"cnpg_pg_stat_archiver_last_{what}_time{{{of(pod)}}}"


def base_backup(pod: str) -> str:
    # The plugin's (internal/cnpgi/instance/metrics.go): 0 if the archive has none.
    return f"barman_cloud_cloudnative_pg_io_last_available_backup_timestamp{{{of(pod)}}}"


def ready(pod: str) -> str:
    # kube-state-metrics, docs/metrics/workload/pod-metrics.md.
    return f'kube_pod_status_ready{{namespace="invoicetron-prod", pod="{pod}", condition="true"}}'


_BOTH: Final = (PRIMARY, STANDBY)
WELL: Final[Mapping[str, Steps]] = {
    **{ready(pod): [(0, 1)] for pod in _BOTH},
    **{up(pod): [(0, 1)] for pod in _BOTH},
    **{limit(pod): [(0, 100)] for pod in _BOTH},
    **{connections(pod): [(0, 20)] for pod in _BOTH},
    **{waiting(pod): [(0, 0)] for pod in _BOTH},
    **{archiver(pod, "failed"): [(0, -1)] for pod in _BOTH},
    **{base_backup(pod): [(0, 1), (HOUR, HOUR * 60.0)] for pod in _BOTH},
    archiver(PRIMARY, "archived"): [(0, 0)],
    archiver(STANDBY, "archived"): [(0, -1)],
    in_recovery(PRIMARY): [(0, 0)],
    in_recovery(STANDBY): [(0, 1)],
}
CASES: Final = {
    "all is well": Case(minute=2 * HOUR),
    "eighty connections of each of two instances": Case(seen={connections(pod): [(0, 80)] for pod in _BOTH}, minute=30),
    "eighty-one of the primary's are open": Case(
        seen={connections(PRIMARY, "active"): [(0, 61)]}, minute=12, fire=fires(NEAR_LIMIT)
    ),
    "one instance of two is not measured": Case(seen={up(STANDBY): NEVER}, minute=40),
    "no instance is measured": Case(
        seen=dict.fromkeys([*map(up, _BOTH), *map(base_backup, _BOTH)], NEVER),
        minute=70,
        fire=fires(NOT_MEASURED, BASE_BACKUP),
    ),
    "a segment was refused, for fourteen minutes": Case(seen={archiver(PRIMARY, "failed"): [(10, 600)]}, minute=24),
    "a segment was refused, for sixteen": Case(
        seen={archiver(PRIMARY, "failed"): [(10, 600)]}, minute=26, fire=fires(NOT_ARCHIVED)
    ),
    "it was archived at the next try": Case(
        seen={archiver(PRIMARY, "failed"): [(10, 600)], archiver(PRIMARY, "archived"): [(0, 0), (12, 720)]}, minute=30
    ),
    "a standby that was primary had one refused before": Case(
        seen={archiver(STANDBY, "failed"): [(0, 600)], waiting(STANDBY): [(0, 11)]}, minute=30
    ),
    "eleven segments wait for an endpoint that never answers": Case(
        seen={waiting(PRIMARY): [(0, 11)]}, minute=16, fire=fires(NOT_ARCHIVED)
    ),
    "the first base backup takes less than an hour": Case(
        seen={base_backup(pod): [(0, 0), (50, 3000)] for pod in _BOTH}, minute=70
    ),
    "there is no base backup": Case(
        seen={base_backup(pod): [(0, 0)] for pod in _BOTH}, minute=61, fire=fires(BASE_BACKUP)
    ),
    "the last base backup is of a time to come": Case(
        seen={base_backup(pod): AHEAD for pod in _BOTH}, minute=2 * HOUR + 10, fire=fires(BASE_BACKUP)
    ),
    "the last base backup is twenty-eight hours old": Case(
        seen={base_backup(pod): [(0, HOUR * 60.0)] for pod in _BOTH}, minute=29 * HOUR, fire=fires(BASE_BACKUP)
    ),
}


@pytest.fixture(scope="module")
def promtool() -> Path:
    return optional_tools.promtool()


@pytest.fixture(scope="module")
def archived() -> Program:
    return run("prod", {**ARCHIVED, "backup": {"enabled": False}}, values=VALUES)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_the_instances_metrics_fire_the_right_alert_and_no_other(
    promtool: Path, archived: Program, tmp_path: Path, case: Case
) -> None:
    whole = Case(seen={**WELL, **case.seen}, minute=case.minute, fire=case.fire)
    assert_fires(promtool, rules_of(archived, tmp_path), whole)


def exported() -> Iterator[str]:
    """What the default queries of the release that the rehearsal runs export."""
    documents = yaml.safe_load_all(optional_tools.cloudnative_pg_manifest().read_text())
    (found,) = (one for one in documents if one and one["kind"] == "ConfigMap" and "queries" in one.get("data", {}))
    queries: dict[str, Any] = yaml.safe_load(found["data"]["queries"])
    for key, query in queries.items():
        for metric in query["metrics"]:
            yield from (f"cnpg_{query.get('name', key)}_{column}" for column in metric)


def test_every_metric_used_from_the_default_queries_exists(archived: Program) -> None:
    text = json.dumps(archived.one("PrometheusRule").inputs["spec"]) + json.dumps(
        panels("invoicetron-prod", rate="[5m]")
    )
    asked = {name for name in re.findall(r"\bcnpg_[a-z_]+", text) if not name.startswith("cnpg_collector_")}
    assert len(asked) > 8
    assert asked <= set(exported())
