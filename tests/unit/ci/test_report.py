"""The report of a preview on a merge request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ci.report import Preview, comment, marker, widget


def step(op: str, name: str, **more: Any) -> dict[str, Any]:
    urn = f"urn:pulumi:dev::invoicetron::invoicetron:app:App$kubernetes:apps/v1:Deployment::{name}"
    return {"op": op, "urn": urn, **more}


def parsed(*steps: dict[str, Any], **more: Any) -> Preview:
    return Preview.parse(json.dumps({"steps": list(steps), **more}))


def shown(preview: Preview, **more: Any) -> str:
    return comment(preview, stack="dev", job_url="https://gitlab.example.com/job/1", **more)


def test_deletes_and_replacements_come_before_updates_and_creates() -> None:
    replaced = [step(op, "claim") for op in ("create-replacement", "replace", "delete-replaced")]
    text = shown(parsed(step("create", "new"), step("update", "app"), *replaced, step("delete", "old")))
    places = [text.index(f"`{name}`") for name in ("old", "claim", "app", "new")]
    assert places == sorted(places)
    assert text.count("`claim`") == 1


def test_the_widget_counts_a_replacement_as_a_create_and_a_delete() -> None:
    replaced = [step(op, "claim") for op in ("create-replacement", "replace", "delete-replaced")]
    assert json.loads(widget(parsed(*replaced, step("same", "x")))) == {"create": 1, "update": 0, "delete": 1}


def test_property_paths_are_shown_and_values_never_are() -> None:
    values = {"oldState": {"inputs": {"data": "hunter2"}}, "newState": {"inputs": {"data": "hunter3"}}}
    diff = {"detailedDiff": {"stringData.password": {"kind": "update", "inputDiff": True}}}
    text = shown(parsed(step("update", "secret", **values, **diff)))
    assert "stringData.password" in text
    assert "hunter" not in text


def test_an_engine_error_is_announced_without_its_text() -> None:
    text = shown(parsed(diagnostics=[{"severity": "error", "message": "cannot log in with hunter2"}]))
    assert "failed" in text
    assert "hunter2" not in text


def test_a_long_comment_is_cut_to_the_limit_and_says_where_the_rest_is() -> None:
    preview = parsed(*(step("update", f"app-{number}", detailedDiff={"spec": {}}) for number in range(500)))
    text = shown(preview, limit=2000)
    assert len(text) <= 2000
    assert "Cut to GitLab's limit" in text
    assert text.endswith("(https://gitlab.example.com/job/1)")


def test_no_changes_are_said_in_words() -> None:
    assert "No changes." in shown(parsed(step("same", "app")))


def test_a_rehearsed_preview_says_that_it_is_one() -> None:
    assert "rehearsal" in shown(parsed(step("create", "app")), rehearsed=True)
    assert "rehearsal" not in shown(parsed(step("create", "app")))


def test_the_comment_starts_with_the_marker_by_which_the_next_pipeline_finds_it() -> None:
    assert shown(parsed()).startswith(marker("dev"))
    assert marker("dev") != marker("prod")


def test_something_that_is_no_preview_is_refused() -> None:
    with pytest.raises(ValueError, match="pulumi preview --json"):
        Preview.parse("error: no stack selected")
