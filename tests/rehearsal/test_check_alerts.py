"""The alerts on the pipeline's scheduled checks, under `promtool test rules`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from rehearsal import optional_tools
from tests.rehearsal.test_alerts import (
    BACKUP_GOOD,
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
from tests.unit.program import Program, run


def lease(check: str, of: str = "invoicetron-prod") -> str:
    """kube-state-metrics' internal/store/lease.go. Where it names no namespace, Prometheus adds the exporter's own."""
    return f'kube_lease_renew_time{{lease="{of}-{check}", namespace="monitoring"}}'


DAILY: Final = WELL[BACKUP_GOOD]
CASES: Final = {
    "both pass every day": Case(seen={lease("drift"): DAILY, lease("verify"): DAILY}, minute=50 * HOUR),
    "the last look for drift that passed is 26 hours old": Case(seen={lease("drift"): ONCE}, minute=27 * HOUR),
    "no look for drift passes any more": Case(
        seen={lease("drift"): ONCE, lease("verify"): DAILY}, minute=27 * HOUR + 20, fire=fires(DRIFT_OLD)
    ),
    "verify does not pass any more": Case(seen={lease("verify"): ONCE}, minute=27 * HOUR + 20, fire=fires(VERIFY_OLD)),
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
