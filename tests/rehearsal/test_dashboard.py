"""Each query of the dashboard finds something in what the alerts' sources export, by Prometheus' own promtool."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from rehearsal import optional_tools
from tests.rehearsal.test_alerts import (
    CERTIFICATE,
    OFFSITE_WELL,
    PROBE,
    WELL,
    Steps,
    failed_job,
    restarts,
    rules_of,
    values,
    volume,
)
from tests.rehearsal.test_check_alerts import lease
from tests.rehearsal.test_metrics_alerts import MEASURED_WELL
from tests.unit.program import Program, run
from tests.unit.test_offsite import S3, VALUES
from tests.unit.test_postgres_exporter import METRICS
from tests.unit.test_postgres_exporter import VALUES as MONITOR

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
        found[f'kube_pod_container_info{{{labels}, image="registry/{container}:1", uid="1"}}'] = [(0, 1)]
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
    monitoring = {**METRICS, "dashboard": True}
    return run("prod", {"monitoring": monitoring, "backup.s3": S3}, values={**VALUES, **MONITOR})


def dashboard(program: Program) -> dict[str, Any]:
    (text,) = program.one("ConfigMap", "invoicetron-dashboard").inputs["data"].values()
    found: dict[str, Any] = json.loads(text)
    return found


def asked(found: Mapping[str, Any]) -> list[str]:
    """Each query, with Grafana's own variable as it is for a short time range."""
    targets = [target for panel in found["panels"] for target in panel.get("targets") or []]
    return [target["expr"].replace("$__rate_interval", "5m") for target in targets]


def evaluated(exported: Mapping[str, Steps], program: Program, directory: Path) -> subprocess.CompletedProcess[str]:
    """Every query of the dashboard, with the program's own rules beside it."""
    rules = rules_of(program, directory)
    series = [
        {"series": name, "values": values(steps, until=MINUTE + 1, every=1)}
        for name, steps in exported.items()
        if steps
    ]
    tests = [
        {
            "expr": f"count({query}) > bool 0",
            "eval_time": f"{MINUTE - 10}m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for query in asked(dashboard(program))
    ]
    file = directory / "test.yaml"
    whole = {"interval": "1m", "input_series": series, "promql_expr_test": tests}
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [whole]}))
    promtool = optional_tools.promtool()
    return subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)


def test_every_query_finds_what_is_exported(prod: Program, tmp_path: Path) -> None:
    assert len(asked(dashboard(prod))) > 20
    done = evaluated(EXPORTED, prod, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("gone", [CERTIFICATE, restarts("invoicetron"), volume("used", "data-invoicetron-db-0")])
def test_a_query_for_what_nobody_exports_would_be_seen(prod: Program, tmp_path: Path, gone: str) -> None:
    metric = gone.partition("{")[0]
    exported = {name: steps for name, steps in EXPORTED.items() if not name.startswith(metric)}
    done = evaluated(exported, prod, tmp_path)
    assert done.returncode != 0
    assert metric in done.stdout + done.stderr
