"""What the recording rules of the stack prod record from kube-state-metrics' and the kubelet's figures: `promtool`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from components.alerts import VOLUME_USED
from components.recording_rules import DURATION, VOLUME_BYTES
from rehearsal import optional_tools
from tests.rehearsal.test_alerts import BACKUPS, DATA, SIZE, Steps, failed_job, rules_of, values, volume
from tests.unit.program import run

MINUTE: Final = 30


def good_job(name: str, *, took: int, ended: int, exporter: str = "one") -> dict[str, Steps]:
    """kube-state-metrics' docs/metrics/workload/job-metrics.md: a Job has a completion time once it has succeeded."""
    job = f'namespace="invoicetron-prod", job_name="{name}", instance="{exporter}"'
    return {
        f"kube_job_status_start_time{{{job}}}": [(0, ended - took)],
        f"kube_job_status_completion_time{{{job}}}": [(0, ended)],
    }


SEEN: Final[Mapping[str, Steps]] = {
    **good_job("invoicetron-db-backup-28", took=40, ended=1000),
    **good_job("invoicetron-db-backup-29", took=30, ended=2000),
    # One kube-state-metrics replaces another, and for minutes Prometheus reads both.
    **good_job("invoicetron-db-backup-29", took=30, ended=2000, exporter="two"),
    **failed_job("invoicetron-db-backup-30", at=20),
    **good_job("invoicetron-db-drill-7", took=300, ended=1500),
    **good_job("invoicetron-migrate-7", took=5, ended=1500),
    volume("used", DATA): [(0, SIZE * 0.5)],
    volume("capacity", DATA): [(0, SIZE)],
    # A volume that is not the stack's: no alert is about it.
    volume("used", "uploads"): [(0, SIZE)],
    volume("capacity", "uploads"): [(0, SIZE)],
    volume("used", BACKUPS): [(0, SIZE * 0.2), (10, None)],
    volume("capacity", BACKUPS): [(0, SIZE), (10, None)],
}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (DURATION, {'cronjob="invoicetron-db-backup"': 30, 'cronjob="invoicetron-db-drill"': 300}),
        (VOLUME_USED, {f'persistentvolumeclaim="{DATA}"': 0.5}),
        (
            f"last_over_time({VOLUME_USED}[26h])",
            {f'persistentvolumeclaim="{DATA}"': 0.5, f'persistentvolumeclaim="{BACKUPS}"': 0.2},
        ),
        (VOLUME_BYTES, {f'persistentvolumeclaim="{DATA}"': SIZE * 0.5}),
    ],
)
def test_the_rules_record_job_durations_and_volume_usage(
    tmp_path: Path, query: str, expected: Mapping[str, float]
) -> None:
    rules = rules_of(run("prod"), tmp_path)
    series = [{"series": name, "values": values(steps, until=MINUTE + 1, every=1)} for name, steps in SEEN.items()]
    name = next(each for each in (DURATION, VOLUME_USED, VOLUME_BYTES) if each in query)
    samples = [
        {"labels": f'{name}{{namespace="invoicetron-prod", {labels}}}', "value": value}
        for labels, value in expected.items()
    ]
    asked = {"expr": query, "eval_time": f"{MINUTE}m", "exp_samples": samples}
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [asked]}
    file = tmp_path / "test.yaml"
    file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run(
        [optional_tools.promtool(), "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
