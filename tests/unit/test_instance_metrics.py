"""`monitoring.databaseMetrics` on CloudNativePG: the instances' own exporter, and who scrapes it."""

from __future__ import annotations

from typing import Any, Final

import pytest

from tests.unit.program import Program, run
from tests.unit.stack_files import refusal, with_value
from tests.unit.test_environment import quota
from tests.unit.test_wal_archive import ENGINE, LIVE, VALUES, WAL, connections

MEASURED: Final = {**ENGINE, "monitoring": {"databaseMetrics": {}}}
ARCHIVED: Final = {**MEASURED, "database.wal": WAL}


@pytest.fixture(scope="module")
def measured() -> Program:
    return run("prod", MEASURED)


def alerts(program: Program) -> dict[str, str]:
    (group,) = program.one("PrometheusRule").inputs["spec"]["groups"]
    return {rule["alert"].removeprefix("Invoicetron"): rule["expr"] for rule in group["rules"] if "alert" in rule}


def test_prometheus_scrapes_the_instances_and_there_is_no_other_exporter(measured: Program, operated: Program) -> None:
    monitor = measured.one("PodMonitor")
    selected = monitor.inputs["spec"]["selector"]["matchLabels"]
    assert selected == {"cnpg.io/cluster": "invoicetron-db", "cnpg.io/podRole": "instance"}
    assert [one["port"] for one in monitor.inputs["spec"]["podMetricsEndpoints"]] == ["metrics"]
    assert monitor.inputs["metadata"]["labels"]["release"] == "prometheus"
    names = {one.inputs["metadata"]["name"] for one in measured.of("Deployment")}
    assert "invoicetron-db-exporter" not in names
    assert quota(measured) == quota(operated)


def test_the_network_policy_lets_prometheus_in_only_if_metrics_are_enabled(
    measured: Program, operated: Program
) -> None:
    into, before = (
        {(source, port) for source, destination, port in connections(program, LIVE) if destination == LIVE.name}
        for program in (measured, operated)
    )
    assert into - before == {("Prometheus", "9187/TCP")}


def test_the_alerts_use_metrics_that_the_instances_export(measured: Program) -> None:
    found = alerts(measured)
    assert "cnpg_backends_total" in found["ConnectionsNearLimit"]
    assert "cnpg_collector_up" in found["DatabaseNotMeasured"]
    assert not [expr for expr in found.values() if "pg_stat_activity_count" in expr or "pg_up" in expr.split("cnpg")]
    assert not {"LogNotArchived", "BaseBackupTooOld"} & found.keys()
    assert {"LogNotArchived", "BaseBackupTooOld"} <= alerts(run("prod", ARCHIVED, values=VALUES)).keys()


def test_an_archive_without_metrics_has_no_alerts() -> None:
    assert "LogNotArchived" not in alerts(run("prod", {**ENGINE, "database.wal": WAL}, values=VALUES))


@pytest.mark.parametrize(
    ("database", "metrics", "said"),
    [
        ({"engine": "cloudnative-pg"}, {"password": "op://Kubernetes/A/monitor"}, "write databaseMetrics: {}"),
        ({}, {}, "invoicetron:monitoring.databaseMetrics.password"),
        (
            {"engine": "cloudnative-pg", "movingFrom": "statefulset"},
            {},
            "while it moves from one engine to the other (database.movingFrom)",
        ),
    ],
)
def test_settings_that_do_not_fit_the_engine_are_refused(database: Any, metrics: Any, said: str) -> None:
    config = with_value("prod", "database", database)
    config["monitoring"] = {"databaseMetrics": metrics}
    message = refusal("prod", config)
    assert said in message
    assert "1 mistake." in message
