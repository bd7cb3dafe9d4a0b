"""The alerts of a stack that is probed from outside, with the Access service token, under `promtool test rules`."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from components.alerts import Watched, alerts
from rehearsal import optional_tools
from tests.rehearsal.test_alerts import DAY, DOWN, NEVER, NOT_PROBED, PROBE, Case, Steps, assert_fires, fires, rules_of
from tests.stacks import PROD
from tests.unit.program import Program, run
from tests.unit.test_service_token import ASKED

# blackbox_exporter: `job` and `instance` as the operator's Probe names them.
OUTSIDE: Final = (
    'probe_success{job="invoicetron-prod-public", instance="https://invoicetron.rommelporras.com/api/health"}'
)
PUBLIC_DOWN: Final = "InvoicetronPublicDown"
WELL: Final[Mapping[str, Steps]] = {OUTSIDE: [(0, 1)]}
CASES: Final = {
    "all is well": Case(seen=WELL, minute=9 * DAY),
    "the tunnel is away for nine minutes": Case(seen={OUTSIDE: [(0, 1), (100, 0)]}, minute=109),
    "the tunnel is away": Case(seen={OUTSIDE: [(0, 1), (100, 0)]}, minute=111, fire=fires(PUBLIC_DOWN)),
    "the tunnel is back": Case(seen={OUTSIDE: [(0, 1), (100, 0), (115, 1)]}, minute=116),
    "the app is down, which is seen from both sides": Case(
        seen={OUTSIDE: [(0, 1), (100, 0)], PROBE: [(0, 1), (100, 0)]}, minute=115, fire=fires(PUBLIC_DOWN, DOWN)
    ),
    "nobody ever asked from outside": Case(seen={OUTSIDE: NEVER}, minute=70, fire=fires(NOT_PROBED)),
    "nobody asks from outside any more": Case(
        seen={OUTSIDE: [(0, 1), (100, None)]}, minute=120, fire=fires(PUBLIC_DOWN)
    ),
}


@pytest.fixture(scope="module")
def promtool() -> Path:
    return optional_tools.promtool()


@pytest.fixture(scope="module")
def asked() -> Program:
    return run("prod", ASKED)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_an_outage_in_front_of_the_app_fires_its_own_alert(
    promtool: Path, asked: Program, tmp_path: Path, case: Case
) -> None:
    assert_fires(promtool, rules_of(asked, tmp_path), case)


@pytest.mark.parametrize("left", [31, 29, 8, 6, -1])
@pytest.mark.parametrize("token", ["ServiceToken", "PipelineToken"])
def test_a_token_fires_alerts_a_month_and_a_week_before_its_date(
    promtool: Path, tmp_path: Path, token: str, left: int
) -> None:
    day = dt.date(1970, 1, 1) + dt.timedelta(days=left + 2)  # Prometheus' tests begin in 1970
    watched = Watched(
        names=PROD,
        claims=[],
        service_token_expires=day if token == "ServiceToken" else None,
        pipeline_token_renewed=day if token == "PipelineToken" else None,
    )
    of_token = [rule for rule in alerts(watched) if "Token" in rule["alert"]]
    assert len(of_token) == 2
    rules = tmp_path / "rules.yaml"
    rules.write_text(json.dumps({"groups": [{"name": "token", "rules": of_token}]}))
    told = {f"Invoicetron{token}EndsSoon": left < 30, f"Invoicetron{token}Ends": left < 7}
    assert_fires(promtool, rules, Case(minute=2 * DAY, fire=frozenset(name for name, due in told.items() if due)))
