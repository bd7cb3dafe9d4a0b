"""The alerts on what postgres_exporter exports, under `promtool test rules`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from rehearsal import optional_tools
from tests.rehearsal.test_alerts import NEVER, Case, Steps, assert_fires, fires, rules_of
from tests.unit.program import Program, run
from tests.unit.test_postgres_exporter import METRICS, VALUES

# As postgres_exporter exports them (tests/database/test_monitor_role.py runs it), with the PodMonitor's labels.
_EXPORTER: Final = 'namespace="invoicetron-prod", pod="invoicetron-db-exporter-5d4-x7", container="postgres-exporter"'
PG_UP: Final = f"pg_up{{{_EXPORTER}}}"
LIMIT: Final = f'pg_settings_max_connections{{{_EXPORTER}, server="invoicetron-db:5432"}}'
NEAR_LIMIT, NOT_MEASURED = "InvoicetronConnectionsNearLimit", "InvoicetronDatabaseNotMeasured"


def connections(state: str, pod: str = "x7") -> str:
    labels = _EXPORTER.replace("x7", pod)
    return f'pg_stat_activity_count{{{labels}, datname="invoicetron", state="{state}"}}'


MEASURED_WELL: Final[Mapping[str, Steps]] = {
    PG_UP: [(0, 1)],
    LIMIT: [(0, 100)],
    connections("active"): [(0, 10)],
    connections("idle"): [(0, 60)],
}
MEASURED_CASES: Final = {
    "seventy of a hundred connections are open": Case(seen=MEASURED_WELL, minute=30),
    "eighty-one are, for nine minutes": Case(
        seen={**MEASURED_WELL, connections("active"): [(0, 10), (30, 21)]}, minute=39
    ),
    "eighty-one are, for eleven minutes": Case(
        seen={**MEASURED_WELL, connections("active"): [(0, 10), (30, 21)]}, minute=41, fire=fires(NEAR_LIMIT)
    ),
    "two exporters overlap while one takes the other's place": Case(
        seen={**MEASURED_WELL, connections("idle", "y8"): [(0, 60)], connections("active", "y8"): [(0, 10)]}, minute=30
    ),
    "the exporter may not log in": Case(
        seen={**MEASURED_WELL, PG_UP: [(0, 1), (10, 0)]}, minute=41, fire=fires(NOT_MEASURED)
    ),
    "the exporter is gone": Case(seen=dict.fromkeys(MEASURED_WELL, NEVER), minute=35, fire=fires(NOT_MEASURED)),
}


@pytest.fixture(scope="module")
def promtool() -> Path:
    return optional_tools.promtool()


@pytest.fixture(scope="module")
def measured() -> Program:
    return run("prod", {"monitoring": METRICS}, values=VALUES)


@pytest.mark.parametrize("case", MEASURED_CASES.values(), ids=list(MEASURED_CASES))
def test_the_exporter_s_metrics_fire_the_right_alert_and_no_other(
    promtool: Path, measured: Program, tmp_path: Path, case: Case
) -> None:
    assert_fires(promtool, rules_of(measured, tmp_path), case)
