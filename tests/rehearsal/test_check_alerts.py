"""The alerts on the pipeline's scheduled checks, under `promtool test rules`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from rehearsal import optional_tools
from tests.rehearsal.test_alerts import (
    AHEAD,
    BACKUP_GOOD,
    DAY,
    DRIFT_OLD,
    HOUR,
    ONCE,
    VERIFY_OLD,
    WELL,
    Case,
    assert_fires,
    fires,
    rules_of,
)
from tests.rehearsal.test_instance_alerts import PRIMARY, STANDBY, ready
from tests.unit.program import Program, run
from tests.unit.test_wal_archive import ENGINE, VALUES, WAL


def lease(check: str, of: str = "invoicetron-prod") -> str:
    """kube-state-metrics' internal/store/lease.go. Where it names no namespace, Prometheus adds the exporter's own."""
    return f'kube_lease_renew_time{{lease="{of}-{check}", namespace="monitoring"}}'


DAILY: Final = WELL[BACKUP_GOOD]
RECOVERY_OLD: Final = "InvoicetronRecoveryTooOld"
CASES: Final = {
    "both pass every day": Case(seen={lease("drift"): DAILY, lease("verify"): DAILY}, minute=50 * HOUR),
    "the last look for drift that passed is 26 hours old": Case(seen={lease("drift"): ONCE}, minute=27 * HOUR),
    "no look for drift passes any more": Case(
        seen={lease("drift"): ONCE, lease("verify"): DAILY}, minute=27 * HOUR + 20, fire=fires(DRIFT_OLD)
    ),
    "verify does not pass any more": Case(seen={lease("verify"): ONCE}, minute=27 * HOUR + 20, fire=fires(VERIFY_OLD)),
    "verify passed at a time to come": Case(seen={lease("verify"): AHEAD}, minute=2 * HOUR, fire=fires(VERIFY_OLD)),
    "another stack is not looked at any more": Case(
        seen={lease("drift", "invoicetron-dev"): ONCE}, minute=27 * HOUR + 20
    ),
}


@pytest.fixture(scope="module")
def prod() -> Program:
    return run("prod")


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_a_check_that_no_longer_passes_fires_its_own_alert(prod: Program, tmp_path: Path, case: Case) -> None:
    assert_fires(optional_tools.promtool(), rules_of(prod, tmp_path), case)


def test_a_recovery_that_is_no_longer_drilled_fires_an_alert_if_there_is_an_archive(
    prod: Program, tmp_path: Path
) -> None:
    changes = {**ENGINE, "database.wal": WAL}
    archived = rules_of(run("prod", changes, values=VALUES), tmp_path)
    well = {ready(PRIMARY): [(0, 1.0)], ready(STANDBY): [(0, 1.0)], lease("recovery"): ONCE}
    promtool = optional_tools.promtool()
    assert_fires(promtool, archived, Case(seen=well, minute=8 * DAY))
    assert_fires(promtool, archived, Case(seen=well, minute=8 * DAY + HOUR + 20, fire=fires(RECOVERY_OLD)))
    without = rules_of(prod, tmp_path)
    assert_fires(promtool, without, Case(seen={lease("recovery"): ONCE}, minute=8 * DAY + HOUR + 20))
