"""The report of a preview: what reviewers see, and what nobody may see."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.report import Preview, comment, log, marker, widget

REPLACEMENT = ("delete-replaced", "replace", "create-replacement")


def step(op: str, name: str, *, phase: str = "resourcePreEvent", **more: Any) -> dict[str, Any]:
    urn = f"urn:pulumi:dev::invoicetron::invoicetron:app:App$kubernetes:apps/v1:Deployment::{name}"
    return {phase: {"metadata": {"op": op, "urn": urn, **more}, "planning": True}}


def update(name: str, *paths: str, **more: Any) -> dict[str, Any]:
    return step(
        "update", name, detailedDiff={path: {"diffKind": "update", "inputDiff": True} for path in paths}, **more
    )


def printed(*events: dict[str, Any], result: str = "succeeded") -> str:
    """The engine's output: the events of a preview that ran to the end."""
    end = {"summaryEvent": {"isPreview": True, "result": result}}
    return "\n".join(json.dumps({"sequence": number, **event}) for number, event in enumerate((*events, end)))


def parsed(*events: dict[str, Any], status: int = 0) -> Preview:
    return Preview.parse(printed(*events), status=status)


def shown(preview: Preview, **more: Any) -> str:
    return comment(preview, stack="dev", commit="1a2b3c4d", job_url="https://gitlab.example.com/job/1", **more)


def test_deletes_and_replacements_come_before_updates_and_creates() -> None:
    replaced = [step(op, "claim") for op in REPLACEMENT]
    text = shown(parsed(step("create", "new"), update("app"), *replaced, step("delete", "old")))
    places = [text.index(f"`{name}`") for name in ("old", "claim", "app", "new")]
    assert places == sorted(places)
    assert "1 to delete, 1 to replace, 1 to update, 1 to create" in text


def test_the_steps_of_a_replacement_are_one_row_that_says_what_forces_it() -> None:
    forced = {"spec.storageClassName": {"diffKind": "update-replace"}, "metadata.labels": {"diffKind": "update"}}
    text = shown(parsed(*(step(op, "claim", detailedDiff=forced) for op in REPLACEMENT)))
    assert text.count("| **replace** |") == 1
    assert "`spec.storageClassName` (forces the replacement)" in text
    assert "`metadata.labels`\n" in text


def of_provider(event: dict[str, Any]) -> dict[str, Any]:
    event["resourcePreEvent"]["metadata"]["urn"] = (
        "urn:pulumi:dev::invoicetron::pulumi:providers:onepassword::onepassword"
    )
    return event


def test_new_credentials_in_a_provider_s_record_are_named_and_not_counted_as_a_change() -> None:
    preview = parsed(of_provider(update("onepassword", "token", "url")))
    assert "No changes. (`onepassword`: the plugin would record the credentials of this run" in shown(preview)
    assert json.loads(widget(preview)) == {"create": 0, "update": 0, "delete": 0}
    assert "| update |" not in shown(preview)


def test_a_provider_with_changes_beyond_its_credentials_counts_as_a_change() -> None:
    preview = parsed(of_provider(update("onepassword", "token", "version")))
    assert "| update | `pulumi:providers:onepassword` | `onepassword` |" in shown(preview)
    assert json.loads(widget(preview))["update"] == 1


@pytest.mark.parametrize("op", ["create", "delete", "replace"])
def test_a_provider_that_is_not_only_updated_counts_as_a_change(op: str) -> None:
    assert parsed(of_provider(step(op, "onepassword"))).changes


def test_the_widget_counts_a_replacement_as_a_create_and_a_delete_and_an_import_as_neither() -> None:
    preview = parsed(*(step(op, "claim") for op in REPLACEMENT), step("same", "x"), step("import", "y"), update("app"))
    assert json.loads(widget(preview)) == {"create": 1, "update": 1, "delete": 1}


def test_differences_found_by_the_refresh_are_not_changes_of_the_program() -> None:
    found = update("app", "spec.template.spec.containers[0].image", phase="resOutputsEvent")
    assert "No changes." in shown(parsed(step("refresh", "app"), found, step("same", "app")))


def test_property_names_are_shown_if_a_provider_reports_no_paths() -> None:
    text = shown(parsed(step("replace", "token", diffs=["expires_at", "name"], keys=["expires_at"])))
    assert "`expires_at` (forces the replacement)" in text
    assert "`name`\n" in text


@given(value=st.text(min_size=1), other=st.integers())
def test_no_value_is_ever_shown(value: str, other: int) -> None:
    secret = f"hunter2{value}"
    values = {
        "inputs": {"data": {"password": secret}, "list": [secret, other]},
        "outputs": {"token": secret},
        "id": secret,
    }
    difference = {"data.password": {"diffKind": "update", "old": secret, "new": secret}}
    preview = parsed(
        {"preludeEvent": {"config": {"invoicetron:secrets": secret}}},
        step("update", "database", old=values, new=values, detailedDiff=difference),
        {"policyEvent": {"policyName": "no-plaintext-secrets", "message": secret, "resourceUrn": "a::b::c::d"}},
        {"diagnosticEvent": {"severity": "error", "message": secret}},
        {"stdoutEvent": {"message": secret}},
        status=1,
    )
    for text in (shown(preview), widget(preview)):
        assert "hunter2" not in text
    assert "data.password" in shown(preview)


def test_a_failed_preview_says_so_in_the_comment_and_has_no_counts() -> None:
    preview = parsed(
        step("create", "app"), {"diagnosticEvent": {"severity": "error", "message": "no cluster"}}, status=1
    )
    assert "**The preview failed.** Until then it had seen: 1 to create." in shown(preview)
    assert "error: no cluster" in log(preview)
    assert json.loads(widget(preview)) == {}


@pytest.mark.parametrize("text", ["", "error: no stack named 'dev' found\n", printed(result="failed")])
def test_an_unfinished_preview_has_failed_whatever_its_exit_status(text: str) -> None:
    preview = Preview.parse(text, status=0)
    assert preview.failed
    assert "seen: nothing" in shown(preview)


def test_a_violated_policy_is_named_in_the_comment_and_explained_in_the_log() -> None:
    urn = "urn:pulumi:dev::invoicetron::kubernetes:apps/v1:Deployment::app"
    event = {"policyName": "containers-are-bounded", "message": "container web has no limits", "resourceUrn": urn}
    preview = parsed({"policyEvent": event}, {"policyEvent": {**event, "resourceUrn": ""}}, status=1)
    assert "- policy `containers-are-bounded` is violated by `app`" in shown(preview)
    assert "- policy `containers-are-bounded` is violated by `the stack`" in shown(preview)
    assert "policy containers-are-bounded, app: container web has no limits" in log(preview)


def test_a_long_comment_is_cut_between_resources_and_links_to_the_log() -> None:
    preview = parsed(step("delete", "old"), *(update(f"app-{number}", "spec") for number in range(100)))
    for limit in range(600, 6000, 37):
        text = shown(preview, limit=limit)
        assert len(text) <= limit
        assert text.startswith(marker("dev")), "the next pipeline would not find it"
        assert "Cut to GitLab's limit" in text
        assert text.count("<details>") == text.count("</details>")
        assert "https://gitlab.example.com/job/1" in text
    assert "`old`" in shown(preview, limit=600)
    whole = shown(preview)
    assert shown(preview, limit=len(whole)) == whole
    assert "app-99" in log(preview)


def test_names_from_the_branch_under_review_can_neither_end_the_table_nor_add_markup() -> None:
    text = shown(parsed(update("x` | @all </summary><b>", "data.`y`|z")))
    assert "`x' \\| @all </summary><b>`" in text
    # GitLab notifies everybody whom a text mentions, except in code.
    assert "<summary><code>x` | @all &lt;/summary&gt;" in text
    assert "`data.'y'\\|z`" in text


def test_a_rehearsed_preview_is_labelled_as_a_rehearsal() -> None:
    assert "rehearsal" in shown(parsed(step("create", "app")), rehearsed=True)
    assert "rehearsal" not in shown(parsed(step("create", "app")))


def test_the_comment_starts_with_the_marker_by_which_the_next_pipeline_finds_it() -> None:
    assert shown(parsed()).startswith(marker("dev"))
    assert marker("dev") != marker("prod")
