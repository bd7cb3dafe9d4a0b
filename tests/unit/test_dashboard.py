"""The dashboard: created only if enabled, accepted by Grafana, and the same from run to run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from components.alerts import Watched
from components.dashboard import dashboard_json
from settings.names import Names
from tests.unit.dashboard import WATCHED
from tests.unit.program import Program, run

SNAPSHOT = Path(__file__).parent / "dashboard.json"


@pytest.fixture(scope="module")
def wanted() -> Program:
    return run("prod", {"monitoring": {"dashboard": True}})


def panels(text: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(text)["panels"]
    return found


def test_the_dashboard_is_the_one_that_was_reviewed() -> None:
    """`make generate` rewrites it; its diff shows what people will see."""
    assert dashboard_json(WATCHED) == SNAPSHOT.read_text()


def test_grafana_s_own_types_read_the_dashboard_without_loss() -> None:
    text = dashboard_json(WATCHED)
    again = json.dumps(Dashboard.from_json(json.loads(text)), cls=JSONEncoder)
    assert json.loads(again) == json.loads(text)


def test_no_panel_overlaps_another_or_leaves_the_grid() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels(dashboard_json(WATCHED)):
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
            assert cell not in taken, f"{panel['title']} lies on {taken[cell]}"
            taken[cell] = panel["title"]


@pytest.mark.parametrize(
    ("seconds", "colour"), [(-300 * 24 * 3600, "red"), (-60, "green"), (3600, "green"), (9 * 24 * 3600, "red")]
)
def test_the_age_of_what_should_be_recent_is_red_if_it_is_long_ago_or_in_the_future(seconds: int, colour: str) -> None:
    shown = [one for one in panels(dashboard_json(WATCHED)) if one["title"].startswith("Since the last good ")]
    assert len(shown) == 4
    for panel in shown:
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        reached = [one["color"] for one in steps if one.get("value") is None or one["value"] <= seconds]
        assert reached[-1] == colour, panel["title"]


def test_only_panels_for_what_the_stack_has_are_shown() -> None:
    bare = dashboard_json(Watched(names=WATCHED.names, claims=["data"]))
    assert "deploy token" not in bare
    assert "cronjob" not in bare
    assert "pg_" not in bare
    assert "deploy token" in dashboard_json(WATCHED)


@pytest.mark.parametrize("stack", ["t", "test", "a-stack-with-a-long-name", "a-stack-with-a-long-name-too"])
def test_grafana_takes_the_id_of_a_stack_with_a_long_name_and_each_has_its_own(stack: str) -> None:
    def uid(stack: str) -> str:
        watched = Watched(names=Names("a-project-with-a-long-name-it-has", stack), claims=[])
        return str(json.loads(dashboard_json(watched))["uid"])

    assert len(uid(stack)) <= 40
    assert uid(stack) == uid(stack)
    assert uid(stack) != uid(f"{stack}x")


def test_the_sidecar_finds_the_dashboard_and_every_stack_has_its_own(wanted: Program) -> None:
    made = wanted.one("ConfigMap", "invoicetron-dashboard").inputs
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    (text,) = made["data"].values()
    assert json.loads(text)["uid"] == "invoicetron-prod"
    assert "invoicetron-dev" not in text


def test_a_stack_without_a_dashboard_does_not_import_its_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith("grafana_foundation_sdk")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "components.dashboard")
    without = run("prod")
    assert not [each for each in without.of("ConfigMap") if "dashboard" in each.name]
    assert not [each for each in sys.modules if each.startswith("grafana_foundation_sdk")]
