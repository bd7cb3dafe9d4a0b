"""`ops record`: the rows of the last backup and of the last drills, as Prometheus rules."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import pytest
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from ops import backup_metrics
from settings import Settings
from tests.stacks import PROD
from tests.unit.ops.test_backups import pod
from tests.unit.program import load_settings

BACKED_UP = json.dumps({"backup": "invoicetron-000002", "rows": 1234, "bytes": 5678, "seconds": 3, "superuser": False})


def drilled(origin: str, rows: int) -> str:
    return json.dumps({"drilled": "invoicetron-000001", "from": origin, "rows": rows, "seconds": 9})


def recorded(*pods: dict[str, Any]) -> dict[tuple[str, str], str]:
    """What is recorded, by metric and CronJob."""
    found = list(backup_metrics.rules(PROD, pods))
    assert all(rule["labels"]["namespace"] == "invoicetron-prod" for rule in found)
    return {(rule["record"].split(":")[1], rule["labels"]["cronjob"]): rule["expr"] for rule in found}


def test_the_last_successful_run_of_each_kind_is_recorded() -> None:
    pods = [
        pod(BACKED_UP, hours_ago=1),
        pod(BACKED_UP.replace("1234", "1200"), hours_ago=25),
        pod(drilled("volume", 1200), hours_ago=30),
        pod(drilled("volume", 1100), hours_ago=200),
        pod(drilled("s3", 1000), hours_ago=40),
        pod(BACKED_UP.replace("1234", "1"), hours_ago=0, code=1),
    ]
    assert recorded(*pods) == {
        ("backup_rows", "invoicetron-db-backup"): "vector(1234)",
        ("backup_bytes", "invoicetron-db-backup"): "vector(5678)",
        ("backup_seconds", "invoicetron-db-backup"): "vector(3)",
        ("backup_rows", "invoicetron-db-drill"): "vector(1200)",
        ("backup_seconds", "invoicetron-db-drill"): "vector(9)",
        ("backup_rows", "invoicetron-db-offsite-drill"): "vector(1000)",
        ("backup_seconds", "invoicetron-db-offsite-drill"): "vector(9)",
    }
    assert not recorded()


class Apis:
    """The two APIs in use, of a cluster with one pod that has taken a backup."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.core, self.custom = mock.Mock(), mock.Mock()
        self.core.list_namespaced_pod.return_value = {"items": [pod(BACKED_UP, hours_ago=1)]}
        self.custom.get_namespaced_custom_object.return_value = {"metadata": {"uid": "of-the-alerts"}}
        monkeypatch.setattr(backup_metrics, "CoreV1Api", lambda _: self.core)
        monkeypatch.setattr(backup_metrics, "CustomObjectsApi", lambda _: self.custom)

    def record(self, settings: Settings | None = None) -> str | None:
        return backup_metrics.record(ApiClient(), settings or load_settings("prod"))


def test_prometheus_selects_the_rule_and_it_is_owned_by_the_alerts(monkeypatch: pytest.MonkeyPatch) -> None:
    apis = Apis(monkeypatch)
    told = apis.record()
    assert told is not None
    assert told.startswith("Recorded in the PrometheusRule invoicetron-backup-results")
    *_, plural, name, body = apis.custom.patch_namespaced_custom_object.call_args.args
    assert (plural, name) == ("prometheusrules", "invoicetron-backup-results")
    assert body["metadata"]["labels"]["release"] == "prometheus"
    (owner,) = body["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("PrometheusRule", "invoicetron", "of-the-alerts")


@pytest.mark.parametrize("refuses", ["list_namespaced_pod", "patch_namespaced_custom_object"])
def test_missing_permissions_are_reported_and_do_not_fail_the_job(
    monkeypatch: pytest.MonkeyPatch, refuses: str
) -> None:
    apis = Apis(monkeypatch)
    api = apis.core if "pod" in refuses else apis.custom
    getattr(api, refuses).side_effect = ApiException(status=403)
    told = apis.record()
    assert told is not None
    assert told.startswith("Not recorded: this account may not create and patch the PrometheusRule")
    getattr(api, refuses).side_effect = ApiException(status=500)
    with pytest.raises(ApiException):
        apis.record()


@pytest.mark.parametrize("section", ["monitoring", "backup"])
def test_a_stack_without_alerts_or_backups_has_nothing_to_record(monkeypatch: pytest.MonkeyPatch, section: str) -> None:
    apis = Apis(monkeypatch)
    assert apis.record(load_settings("prod").model_copy(update={section: None})) is None
    apis.custom.get_namespaced_custom_object.side_effect = ApiException(status=404)  # before the first `up`
    assert apis.record() is None
    assert not apis.custom.patch_namespaced_custom_object.called
