"""Each query of the dashboard finds something in what the alerts' sources export; Prometheus' own promtool checks."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from ops.backup_metrics import rules
from rehearsal import optional_tools
from tests.rehearsal.test_alerts import (
    CERTIFICATE,
    PROBE,
    READY,
    WELL,
    Steps,
    failed_job,
    restarts,
    rules_of,
    values,
    volume,
)
from tests.rehearsal.test_check_alerts import lease
from tests.rehearsal.test_instance_alerts import PRIMARY, STANDBY, of
from tests.rehearsal.test_instance_alerts import WELL as INSTANCES_WELL
from tests.rehearsal.test_metrics_alerts import MEASURED_WELL
from tests.rehearsal.test_offsite_alerts import OFFSITE_WELL
from tests.stacks import PROD
from tests.unit.ops.test_backup_metrics import BACKED_UP
from tests.unit.ops.test_backups import pod as ended_pod
from tests.unit.program import Program, run
from tests.unit.test_instance_metrics import ARCHIVED
from tests.unit.test_offsite import S3, VALUES
from tests.unit.test_postgres_exporter import METRICS
from tests.unit.test_postgres_exporter import VALUES as MONITOR
from tests.unit.test_wal_archive import VALUES as ARCHIVE

MINUTE: Final = 120
_OURS: Final = 'namespace="invoicetron-prod"'
PODS: Final = {"invoicetron": "invoicetron-5d4-x7", "postgresql": "invoicetron-db-0"}


def of_pods() -> dict[str, Steps]:
    """What cAdvisor (kubelet, /metrics/cadvisor) and kube-state-metrics (docs/metrics/workload) export of each."""
    found: dict[str, Steps] = {}
    for container, pod in PODS.items():
        labels = f'{_OURS}, pod="{pod}", container="{container}"'
        found[f'container_cpu_usage_seconds_total{{{labels}, cpu="total", image="i"}}'] = [(0, 10), (60, 20)]
        found[f'container_memory_working_set_bytes{{{labels}, image="i"}}'] = [(0, 1000)]
        image = f'image_spec="registry/{container}:1", image="sha256:5d41", image_id="registry/{container}@sha256:7d79"'
        found[f'kube_pod_container_info{{{labels}, {image}, uid="1"}}'] = [(0, 1)]
        for bound in ("requests", "limits"):
            for resource, unit in (("cpu", "core"), ("memory", "byte")):
                of = f'{labels}, resource="{resource}", unit="{unit}", node="one", uid="1"'
                found[f"kube_pod_container_resource_{bound}{{{of}}}"] = [(0, 1)]
        for way in ("receive", "transmit"):  # of the pod's sandbox, which is no container
            of = f'{_OURS}, pod="{pod}", interface="eth0"'
            found[f"container_network_{way}_bytes_total{{{of}}}"] = [(0, 10), (60, 20)]
    return found


def of_postgresql() -> dict[str, Steps]:
    """What postgres_exporter exports, as tests/database/test_monitor_role.py sees."""
    pod = f'{_OURS}, pod="invoicetron-db-exporter-5d4-x7"'
    database = f'{pod}, datname="invoicetron"'
    counters = ("blks_hit", "blks_read", "xact_commit", "xact_rollback")
    return {
        f'pg_locks_count{{{database}, mode="accesssharelock"}}': [(0, 1)],
        f'pg_stat_activity_max_tx_duration{{{database}, state="active"}}': [(0, 1)],
        f"pg_database_size_bytes{{{database}}}": [(0, 1000)],
        **{f'pg_stat_database_{each}{{{database}, datid="5"}}': [(0, 10), (60, 20)] for each in counters},
        **{
            f'pg_stat_statements_{each}_total{{{database}, queryid="-42", user="invoicetron"}}': [(0, 10), (60, 20)]
            for each in ("seconds", "calls")
        },
    }


def of_instances() -> dict[str, Steps]:
    """What CloudNativePG's instances export for the panels; tests/rehearsal/test_instance_alerts.py has the rest."""
    of_database = of(PRIMARY, datname="invoicetron")
    counters = ("blks_hit", "blks_read", "xact_commit", "xact_rollback")
    session = of(PRIMARY, datname="invoicetron", usename="invoicetron", application_name="", state="active")
    return {
        **INSTANCES_WELL,
        **{volume(part, PRIMARY): [(0, 1000)] for part in ("used", "capacity")},
        f"cnpg_backends_waiting_total{{{of(PRIMARY)}}}": [(0, 0)],
        f"cnpg_backends_max_tx_duration_seconds{{{session}}}": [(0, 1)],
        f"cnpg_pg_database_size_bytes{{{of_database}}}": [(0, 1000)],
        **{f"cnpg_pg_stat_database_{each}{{{of_database}}}": [(0, 10), (60, 20)] for each in counters},
        f"cnpg_pg_replication_lag{{{of(STANDBY)}}}": [(0, 0)],
    }


EXPORTED: Final[Mapping[str, Steps]] = {
    **WELL,
    **OFFSITE_WELL,
    **of_pods(),
    **MEASURED_WELL,
    **of_postgresql(),
    **failed_job("invoicetron-db-backup-29", at=90),
    PROBE.replace("probe_success", "probe_duration_seconds"): [(0, 1)],
    f'kube_deployment_status_replicas_available{{{_OURS}, deployment="invoicetron"}}': [(0, 1)],
    lease("drift"): [(0, 60)],
    lease("verify"): [(0, 60)],
    f'kube_job_status_completion_time{{{_OURS}, job_name="invoicetron-db-backup-28"}}': [(60, 3660)],
    f'kube_job_status_start_time{{{_OURS}, job_name="invoicetron-db-backup-28"}}': [(60, 3600)],
}


@pytest.fixture(scope="module")
def prod() -> Program:
    metrics = {**METRICS["databaseMetrics"], "statements": True}
    monitoring = {"databaseMetrics": metrics, "dashboard": True}
    return run("prod", {"monitoring": monitoring, "backup.s3": S3}, values={**VALUES, **MONITOR})


@pytest.fixture(scope="module")
def archived() -> Program:
    """On CloudNativePG, with an archive."""
    changes = {**ARCHIVED, "monitoring": {"databaseMetrics": {}, "dashboard": True}}
    return run("prod", changes, values=ARCHIVE)


def dashboard(program: Program) -> dict[str, Any]:
    (text,) = program.one("ConfigMap", "invoicetron-dashboard").inputs["data"].values()
    found: dict[str, Any] = json.loads(text)
    return found


def asked(found: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Each query, with Grafana's own variable set as for a short time range, and the labels that its legend shows."""
    targets = [target for panel in found["panels"] for target in panel.get("targets") or []]
    return [
        (target["expr"].replace("$__rate_interval", "5m"), re.findall(r"{{(\w+)}}", target["legendFormat"]))
        for target in targets
    ]


def finds(query: str, labels: Sequence[str]) -> str:
    """PromQL that is 1 if the query finds something with each of these labels."""
    by = ", ".join(labels)
    # A missing label counts as an empty one, which `vector(1)` has, too.
    return f"count({f'group by ({by}) ({query}) unless on ({by}) vector(1)' if labels else query}) > bool 0"


def evaluated(exported: Mapping[str, Steps], program: Program, directory: Path) -> subprocess.CompletedProcess[str]:
    """Evaluates every query of the dashboard, with the program's own rules and those that `ops record` writes."""
    tests = [
        {"expr": finds(query, labels), "eval_time": f"{MINUTE - 10}m", "exp_samples": [sample(1)]}
        for query, labels in asked(dashboard(program))
    ]
    recorded = directory / "recorded.yaml"
    group = {"name": "recorded", "rules": list(rules(PROD, [ended_pod(BACKED_UP, hours_ago=1)]))}
    recorded.write_text(json.dumps({"groups": [group]}))
    return promtool(directory, [rules_of(program, directory), recorded], exported, tests)


def sample(value: int) -> dict[str, Any]:
    return {"labels": "{}", "value": value}


def promtool(
    directory: Path, rules: Sequence[Path], exported: Mapping[str, Steps], tests: Sequence[Mapping[str, Any]]
) -> subprocess.CompletedProcess[str]:
    series = [
        {"series": name, "values": values(steps, until=MINUTE + 1, every=1)}
        for name, steps in exported.items()
        if steps
    ]
    file = directory / "test.yaml"
    whole = {"interval": "1m", "input_series": series, "promql_expr_test": tests}
    file.write_text(json.dumps({"rule_files": [*map(str, rules)], "evaluation_interval": "1m", "tests": [whole]}))
    return subprocess.run(
        [optional_tools.promtool(), "test", "rules", file], capture_output=True, text=True, check=False
    )


def test_every_query_finds_exported_metrics(prod: Program, tmp_path: Path) -> None:
    assert len(asked(dashboard(prod))) > 20
    done = evaluated(EXPORTED, prod, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_for_a_database_run_by_the_operator_finds_exported_metrics(
    archived: Program, tmp_path: Path
) -> None:
    exported = {**EXPORTED, **of_instances(), READY: (), lease("recovery"): [(0, 60)]}
    done = evaluated(exported, archived, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert any(lease("recovery").partition(",")[0] in query for query, _ in asked(dashboard(archived)))


@pytest.mark.parametrize(("alert", "number"), [("info", 0), ("none", 0), ("warning", 1), ("critical", 1)])
def test_an_alert_that_pages_nobody_is_not_counted(prod: Program, tmp_path: Path, alert: str, number: int) -> None:
    (query,) = (query for query, _ in asked(dashboard(prod)) if "ALERTS" in query)
    series = f'ALERTS{{namespace="invoicetron-prod", alertname="Some", alertstate="firing", severity="{alert}"}}'
    done = promtool(
        tmp_path, [], {series: [(0, 1)]}, [{"expr": query, "eval_time": "1m", "exp_samples": [sample(number)]}]
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("gone", [CERTIFICATE, restarts("invoicetron"), volume("used", "data-invoicetron-db-0")])
def test_a_query_for_a_metric_that_nobody_exports_is_detected(prod: Program, tmp_path: Path, gone: str) -> None:
    metric = gone.partition("{")[0]
    exported = {name: steps for name, steps in EXPORTED.items() if not name.startswith(metric)}
    done = evaluated(exported, prod, tmp_path)
    assert done.returncode != 0
    assert metric in done.stdout + done.stderr
