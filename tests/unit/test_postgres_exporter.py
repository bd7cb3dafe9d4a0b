"""postgres_exporter: created only if enabled, with its own password, and with no more network access than it needs."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from components.postgres_exporter import PASSWORD
from lookups.secrets import SecretsError
from settings import Settings, SettingsError
from tests.stacks import DEV, PROD
from tests.unit.network_page import edges
from tests.unit.program import Program, run
from tests.unit.stack_files import sections

NAME, ROLE = PROD.exporter, PROD.monitor_role
REFERENCE: Final = "op://Kubernetes/Invoicetron Prod/monitor-password"
METRICS: Final[dict[str, Any]] = {"databaseMetrics": {"password": REFERENCE}}
VALUES: Final = {"monitor-password": "unit-test-monitor"}


@pytest.fixture(scope="module")
def measured() -> Program:
    return run("prod", {"monitoring": METRICS}, values=VALUES)


def pod(program: Program) -> dict[str, Any]:
    template: dict[str, Any] = program.one("Deployment", NAME).inputs["spec"]["template"]
    return template


def secrets_of(container: dict[str, Any]) -> set[tuple[str, str]]:
    references = (each["valueFrom"]["secretKeyRef"] for each in container["env"] if "valueFrom" in each)
    return {(each["name"], each["key"]) for each in references}


def test_a_stack_that_does_not_enable_the_exporter_has_none(prod: Program) -> None:
    assert not [each for each in prod.registrations if each.name.startswith("exporter")]
    assert "pg_" not in json.dumps(prod.one("PrometheusRule").inputs)


def test_only_the_secret_holds_the_password_and_the_exporter_has_no_other(measured: Program) -> None:
    assert measured.one("Secret", NAME).inputs["stringData"] == {PASSWORD: VALUES["monitor-password"]}
    for each in measured.registrations:
        if each.kind != "Secret":
            assert VALUES["monitor-password"] not in json.dumps(each.inputs), each.urn
    (create,), (exporter,) = pod(measured)["spec"]["initContainers"], pod(measured)["spec"]["containers"]
    assert secrets_of(exporter) == {(NAME, PASSWORD)}
    assert secrets_of(create) == {(NAME, PASSWORD), ("invoicetron-db", "postgres-password")}
    assert {each["value"] for each in exporter["env"] if each["name"] == "DATA_SOURCE_USER"} == {ROLE}


def test_another_password_restarts_the_pod_and_leaves_the_database_alone(prod: Program, measured: Program) -> None:
    rotated = run("prod", {"monitoring": METRICS}, values={"monitor-password": "another-one"})
    assert pod(rotated)["metadata"]["annotations"] != pod(measured)["metadata"]["annotations"]
    before, after = (each.one("StatefulSet").inputs for each in (measured, rotated))
    assert before == after == prod.one("StatefulSet").inputs


def test_statements_are_counted_if_enabled_and_read_in_a_database_that_is_not_dumped(measured: Program) -> None:
    metrics = {**METRICS["databaseMetrics"], "statements": True}
    counted = run("prod", {"monitoring": {"databaseMetrics": metrics}}, values=VALUES)
    (server,), (before,) = (
        each.one("StatefulSet").inputs["spec"]["template"]["spec"]["containers"] for each in (counted, measured)
    )
    assert set(server["args"]) - set(before["args"]) == {
        "--shared_preload_libraries=pg_stat_statements",
        "--pg_stat_statements.track_utility=off",
    }
    hook, usual = (each["lifecycle"]["postStart"]["exec"]["command"] for each in (server, before))
    assert hook[2].startswith(usual[2])
    assert "CREATE EXTENSION IF NOT EXISTS pg_stat_statements" in hook[2].removeprefix(usual[2])
    (exporter,) = pod(counted)["spec"]["containers"]
    assert exporter["args"] == ["--collector.stat_statements"]
    (uri,) = [each["value"] for each in exporter["env"] if each["name"] == "DATA_SOURCE_URI"]
    assert uri.startswith("invoicetron-db:5432/postgres?")
    assert not [each for each in pod(measured)["spec"]["containers"] if "args" in each]


def test_prometheus_scrapes_the_exporter_the_kubelet_probes_it_and_it_queries_the_database(
    prod: Program, measured: Program
) -> None:
    assert edges(measured) - edges(prod) == {
        ("Prometheus", NAME, "9187/TCP"),
        ("the pod's own node", NAME, "9187/TCP"),
        (NAME, "invoicetron-db", "5432/TCP"),
        (NAME, "the cluster's DNS", "53/TCP"),
        (NAME, "the cluster's DNS", "53/UDP"),
    }


def test_prometheus_selects_the_pods_by_its_own_labels(measured: Program) -> None:
    monitor = measured.one("PodMonitor").inputs
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    selected = monitor["spec"]["selector"]["matchLabels"]
    assert selected.items() <= pod(measured)["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (container,) = pod(measured)["spec"]["containers"]
    assert endpoint["port"] in {each["name"] for each in container["ports"]}


def test_the_quota_has_room_for_it(prod: Program, measured: Program) -> None:
    assert prod.one("ResourceQuota").inputs != measured.one("ResourceQuota").inputs


@pytest.mark.parametrize(
    ("values", "problem"),
    [({}, "monitor-password"), ({"monitor-password": "not url safe"}, "the password is not URL-safe")],
)
def test_a_missing_or_unusable_password_is_refused(values: dict[str, str], problem: str) -> None:
    with pytest.raises(SecretsError, match=problem):
        run("prod", {"monitoring": METRICS}, values=values)


def test_a_stack_without_a_database_has_none_to_measure() -> None:
    stack = {**sections("dev"), "database": {"enabled": False}, "monitoring": METRICS}
    for section in ("backup", "secrets"):
        stack.pop(section)
    with pytest.raises(SettingsError, match=r"(?s)monitoring\.databaseMetrics.*no metrics of a database"):
        Settings.load(DEV, stack)


def test_a_database_of_cloudnative_pg_measures_itself() -> None:
    stack = {**sections("dev"), "database": {"engine": "cloudnative-pg", "size": "1Gi"}, "monitoring": METRICS}
    with pytest.raises(SettingsError, match=r"(?s)monitoring\.databaseMetrics.*export.metrics themselves"):
        Settings.load(DEV, stack)
