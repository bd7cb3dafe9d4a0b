"""What people get to read of the engine's output."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from rehearsal.output import report, tree, what_matters

QUIET = """Previewing update (dev):
 +  pulumi:pulumi:Stack shop-dev create
 +  kubernetes:core/v1:Namespace namespace create
Outputs:
    url: "https://shop.example.com"

Resources:
    + 2 to create
"""
FAILED = """pulumi up --stack dev exited with 255:
 +  pulumi:pulumi:Stack shop-dev creating
 +  kubernetes:core/v1:Secret token creating error: no such namespace
Diagnostics:
  pulumi:pulumi:Stack (shop-dev):
    error: update failed

  kubernetes:core/v1:Secret (token):
    warning: the cluster is old
    error: the namespace shop is missing

    Make it, or name another one in the stack file.
    error: a second one

Resources:
    + 1 created
"""


def event(urn: str, parent: str, op: str = "create") -> dict[str, Any]:
    state = {"parent": parent}
    old, new = (state, None) if op == "delete" else (None, state)
    kind = urn.split("::")[2].rsplit("$", 1)[-1]
    return {"resourcePreEvent": {"metadata": {"op": op, "urn": urn, "type": kind, "old": old, "new": new}}}


def drawn(*events: dict[str, Any]) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=120).print(tree(events))
    return [line.rstrip() for line in text.getvalue().splitlines()]


def test_a_provider_that_the_engine_makes_for_itself_is_not_drawn() -> None:
    stack = "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev"
    own = "urn:pulumi:dev::shop::pulumi:providers:kubernetes::kubernetes"
    builtin = "urn:pulumi:dev::shop::pulumi:providers:pulumi::default"
    assert drawn(event(stack, ""), event(own, stack), event(builtin, "")) == [
        "+ create shop-dev pulumi:pulumi:Stack",
        "└── + create kubernetes pulumi:providers:kubernetes",
    ]


def test_resources_stand_below_their_parents_with_names_and_operations() -> None:
    stack = "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev"
    app = "urn:pulumi:dev::shop::shop:app:App::app"
    unchanged = "urn:pulumi:dev::shop::shop:db:Db::db"
    assert drawn(
        event(stack, "", "same"),
        event(app, stack, "same"),
        event(unchanged, stack, "same"),
        event("urn:pulumi:dev::shop::kubernetes:core/v1:Secret::gone", stack, "delete"),
        event("urn:pulumi:dev::shop::shop:app:App$kubernetes:apps/v1:Deployment::web", app, "update"),
    ) == [
        "same shop-dev pulumi:pulumi:Stack",
        "├── same app shop:app:App",
        "│   └── ~ update web kubernetes:apps/v1:Deployment",
        "└── - delete gone kubernetes:core/v1:Secret",
    ]


def test_without_changes_there_is_no_tree() -> None:
    assert (
        tree([event("urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev", "", "same"), {"preludeEvent": {}}]) is None
    )


def test_a_report_leaves_out_the_progress() -> None:
    assert report(QUIET).splitlines() == [
        "Outputs:",
        '    url: "https://shop.example.com"',
        "",
        "Resources:",
        "    + 2 to create",
    ]


def test_a_failure_report_begins_with_the_engines_diagnostics() -> None:
    told = report(FAILED)
    assert told.startswith("Diagnostics:\n  pulumi:pulumi:Stack (shop-dev):\n    error: update failed\n")
    assert "  kubernetes:core/v1:Secret (token):\n    warning: the cluster is old\n" in told


def test_output_without_any_section_is_shown_as_it_is() -> None:
    assert report("error: no stack named 'qa'\n") == "error: no stack named 'qa'"


def test_a_failure_is_summarised_by_its_errors_with_their_advice() -> None:
    assert what_matters(FAILED).splitlines() == [
        "the namespace shop is missing",
        "    Make it, or name another one in the stack file.",
        "a second one",
    ]


@pytest.mark.parametrize("count", [3, 30])
def test_without_a_named_error_the_first_lines_are_shown(count: int) -> None:
    lines = [f"line {number}" for number in range(count)]
    assert what_matters("\n\n".join(lines)).splitlines() == lines[:12]
