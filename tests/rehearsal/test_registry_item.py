"""The 1Password item that holds a stack's deploy token: rotated credentials, a missing item, and who owns it."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rehearsal.engine import EngineError, Program
from rehearsal.rehearsal import REPOSITORY, Rehearsal
from rehearsal.vendors import op_command
from rehearsal.vendors.server import Call, Fault, serve
from tests.rehearsal.killed import wait_for_plugins
from tests.rehearsal.last_release import extract
from tests.rehearsal.ops_command import ops
from tests.rehearsal.test_delivery import active_tokens, pull_login

TITLE = "Invoicetron Dev Deploy Token"
PROVIDER_ONLY = {"onepassword": "update"}
"""What may change with new credentials: the provider's own record of them, which its plugin makes."""


def started(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")


def field(item: dict[str, Any], label: str) -> str:
    (found,) = [one["value"] for one in item["fields"] if one.get("label") == label]
    return str(found)


def shows_the_token_in_use(rehearsal: Rehearsal) -> bool:
    item = rehearsal.onepassword.item(TITLE)
    return (field(item, "username"), field(item, "password")) == pull_login(rehearsal, "dev")


# Other credentials


def rotated(rehearsal: Rehearsal) -> Program:
    """The program with a new token; the old one is revoked."""
    token = rehearsal.onepassword.issue_token("Kubernetes")
    rehearsal.onepassword.revoke_token(rehearsal.onepassword.token)
    return rehearsal.program.with_environment({"OP_CONNECT_TOKEN": token})


def to_a_service_account(rehearsal: Rehearsal, directory: Path) -> Program:
    """The program with a service account; Connect's token is revoked, and its variables are gone."""
    op = directory / "op"
    op.write_text(
        f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {shlex.quote(sys.executable)} -m rehearsal.vendors.op_command "$@"\n'
    )
    op.chmod(0o755)
    kept = {name: value for name, value in rehearsal.program.environment.items() if not name.startswith("OP_")}
    account = {
        "OP_SERVICE_ACCOUNT_TOKEN": rehearsal.onepassword.issue_token("Kubernetes"),
        "OP_CLI_PATH": str(op),
        op_command.SERVER: rehearsal.program.environment["OP_CONNECT_HOST"],
    }
    rehearsal.onepassword.revoke_token(rehearsal.onepassword.token)
    return replace(rehearsal.program, environment=kept | account)


def nothing_but_the_provider_changes(rehearsal: Rehearsal, program: Program) -> None:
    assert program.preview("dev").changes in ({}, PROVIDER_ONLY)
    assert program.refresh("dev").changes == {}
    assert program.up("dev", "--skip-preview").changes in ({}, PROVIDER_ONLY)
    assert program.up("dev", "--skip-preview").changes == {}
    assert shows_the_token_in_use(rehearsal)


def is_destroyed(rehearsal: Rehearsal, program: Program) -> None:
    program.destroy("dev", "--skip-preview")
    assert TITLE not in rehearsal.onepassword.titles()
    assert not active_tokens(rehearsal)
    assert not program.export("dev")["deployment"].get("resources")


@pytest.mark.parametrize("first", ["up", "destroy"])
def test_a_rotated_token_needs_nothing_but_the_variable(rehearsal: Rehearsal, first: str) -> None:
    started(rehearsal)
    program = rotated(rehearsal)
    if first == "up":
        nothing_but_the_provider_changes(rehearsal, program)
    is_destroyed(rehearsal, program)


@pytest.mark.parametrize("first", ["up", "destroy"])
def test_another_address_needs_nothing_but_the_variable(rehearsal: Rehearsal, first: str) -> None:
    started(rehearsal)
    with serve(rehearsal.onepassword.app) as elsewhere:
        program = rotated(rehearsal).with_environment({"OP_CONNECT_HOST": elsewhere})
        if first == "up":
            nothing_but_the_provider_changes(rehearsal, program)
        is_destroyed(rehearsal, program)


@pytest.mark.parametrize("first", ["up", "destroy"])
def test_the_move_from_connect_to_a_service_account_needs_nothing_but_variables(
    rehearsal: Rehearsal, tmp_path: Path, first: str
) -> None:
    started(rehearsal)
    program = to_a_service_account(rehearsal, tmp_path)
    if first == "up":
        nothing_but_the_provider_changes(rehearsal, program)
    is_destroyed(rehearsal, program)


def test_a_read_only_token_is_enough_for_a_preview(rehearsal: Rehearsal) -> None:
    started(rehearsal)
    reader = rehearsal.onepassword.issue_token("Kubernetes", write=False)
    changes = rehearsal.program.with_environment({"OP_CONNECT_TOKEN": reader}).preview("dev").changes
    assert changes in ({}, PROVIDER_ONLY)


# The item is gone


def deleted_by_hand(rehearsal: Rehearsal) -> None:
    rehearsal.onepassword.delete(TITLE)


def archived_by_hand(rehearsal: Rehearsal) -> None:
    rehearsal.onepassword.item(TITLE)["state"] = "ARCHIVED"


@contextmanager
def given_up_database(rehearsal: Rehearsal) -> Iterator[None]:
    """For a `destroy` that is cut off: it has deleted the claim, and `up` makes another only if told to."""
    claim = rehearsal.program.outputs("dev")["database_claim"]["uid"]
    yield
    rehearsal.configure("dev", "database.lostClaim", claim)


def deletion_answer_lost(rehearsal: Rehearsal) -> None:
    """A `destroy` whose DELETE lost its answer, and which then failed on something else."""
    rehearsal.onepassword.app.fail(Fault(reset=True, after_effect=True), method="DELETE")
    rehearsal.gitlab.app.fail(
        Fault(status=403, body=b'{"message": "403 Forbidden"}'), method="DELETE", path="deploy_tokens"
    )
    with given_up_database(rehearsal), pytest.raises(EngineError):
        rehearsal.program.destroy("dev", "--skip-preview")
    assert TITLE not in rehearsal.onepassword.titles()


def kill_at(rehearsal: Rehearsal, method: str, command: str, *options: str) -> None:
    """Runs an engine command, and kills the engine once 1Password has done the call with `method`."""
    arguments = [command, "--yes", "--skip-preview", "--stack", "dev", "--non-interactive", *options]
    with subprocess.Popen(
        [str(rehearsal.program.pulumi), *arguments],
        cwd=rehearsal.program.directory,
        env=dict(rehearsal.program.environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as engine:

        def kill(call: Call) -> None:
            if call.method == method:
                engine.kill()

        rehearsal.onepassword.app.after.append(kill)
    rehearsal.onepassword.app.after.remove(kill)
    assert engine.returncode == -signal.SIGKILL, "the command ended before it wrote"
    wait_for_plugins(rehearsal)


def destroy_killed_right_after_it(rehearsal: Rehearsal) -> None:
    with given_up_database(rehearsal):
        kill_at(rehearsal, "DELETE", "destroy")
        assert TITLE not in rehearsal.onepassword.titles()
        ops(rehearsal, "recover", "dev", timeout=120)  # until then even `config set` may find half a checkpoint


WAYS = [deleted_by_hand, archived_by_hand, deletion_answer_lost, destroy_killed_right_after_it]


@pytest.mark.parametrize("lose", WAYS)
def test_an_item_that_is_gone_is_created_again(rehearsal: Rehearsal, lose: Callable[[Rehearsal], None]) -> None:
    started(rehearsal)
    lose(rehearsal)
    assert rehearsal.program.preview("dev").changes["item"] == "create"
    rehearsal.program.up("dev", "--skip-preview")
    rehearsal.onepassword.purge()
    assert shows_the_token_in_use(rehearsal)
    assert not rehearsal.program.up("dev", "--skip-preview").changes


@pytest.mark.parametrize("lose", WAYS)
def test_a_stack_whose_item_is_gone_can_be_destroyed(rehearsal: Rehearsal, lose: Callable[[Rehearsal], None]) -> None:
    started(rehearsal)
    lose(rehearsal)
    is_gone = rehearsal.program.destroy("dev", "--skip-preview")
    assert is_gone.counts["delete"]
    assert not rehearsal.program.export("dev")["deployment"].get("resources")
    assert not active_tokens(rehearsal)


# The item's creation is lost


def test_an_item_whose_creation_lost_its_answer_is_taken_over_and_not_duplicated(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.onepassword.app.fail(Fault(reset=True, after_effect=True), method="POST")
    rehearsal.program.up("dev", "--skip-preview")
    assert shows_the_token_in_use(rehearsal)
    assert not rehearsal.program.up("dev", "--skip-preview").changes


def test_an_up_killed_between_creating_and_recording_the_item_does_not_duplicate_it(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    kill_at(rehearsal, "POST", "up")
    made = rehearsal.onepassword.item(TITLE)["id"]
    assert f"/items/{made})" in ops(rehearsal, "recover", "dev", timeout=120)
    rehearsal.program.up("dev", "--skip-preview")
    assert rehearsal.onepassword.item(TITLE)["id"] == made
    assert shows_the_token_in_use(rehearsal)


# Who owns the item


def test_another_stack_s_item_is_refused_before_anything_is_made(rehearsal: Rehearsal) -> None:
    started(rehearsal)
    before = json.dumps(rehearsal.onepassword.item(TITLE))
    rehearsal.program.init("prod")
    rehearsal.configure("prod", "registry.item", f"op://Kubernetes/{TITLE}")
    rehearsal.gitlab.app.forget()
    with pytest.raises(EngineError, match="it has the mark of invoicetron/dev, and this stack is invoicetron/prod"):
        rehearsal.program.up("prod", "--skip-preview")
    assert not rehearsal.gitlab.app.writes
    assert json.dumps(rehearsal.onepassword.item(TITLE)) == before


def test_an_item_made_by_hand_is_taken_over_and_keeps_what_a_person_added(rehearsal: Rehearsal) -> None:
    made = rehearsal.onepassword.put(TITLE, {"remark": "ask Rommel"}, username="somebody", password="old-password")
    rehearsal.onepassword.item(TITLE)["fields"][-1]["type"] = "STRING"
    started(rehearsal)
    item = rehearsal.onepassword.item(TITLE)
    assert item["id"] == made
    assert field(item, "remark") == "ask Rommel"
    assert field(item, "stack") == "invoicetron/dev"
    assert shows_the_token_in_use(rehearsal)
    rehearsal.program.destroy("dev", "--skip-preview")
    item = rehearsal.onepassword.item(TITLE)
    assert [field(item, label) for label in ("remark", "username", "password")] == ["ask Rommel", "", ""]


def test_a_manual_edit_is_reverted(rehearsal: Rehearsal) -> None:
    started(rehearsal)
    rehearsal.onepassword.set_field(TITLE, "password", "edited-by-hand")
    assert rehearsal.program.up("dev", "--skip-preview").changes == {"item": "update"}
    assert shows_the_token_in_use(rehearsal)


# From the last release, which wrote the item with the provider's own resource


@pytest.fixture
def released(rehearsal: Rehearsal, tmp_path: Path) -> Program:
    """The last release's program, with the present stack file, after its `up` of dev."""
    extract(tmp_path / "released")
    program = replace(rehearsal.program, directory=tmp_path / "released")
    program.init("dev")
    program.up("dev", "--skip-preview")
    shutil.copy(program.directory / "Pulumi.dev.yaml", rehearsal.program.directory)
    assert "stack" not in {one.get("label") for one in rehearsal.onepassword.item(TITLE)["fields"]}
    return program


def is_taken_over(rehearsal: Rehearsal, item: str, token: int) -> None:
    assert rehearsal.onepassword.item(TITLE)["id"] == item
    assert field(rehearsal.onepassword.item(TITLE), "stack") == "invoicetron/dev"
    assert [one["id"] for one in active_tokens(rehearsal)] == [token]
    assert shows_the_token_in_use(rehearsal)
    is_destroyed(rehearsal, rehearsal.program)


@pytest.mark.usefixtures("released")
def test_the_last_release_s_item_is_taken_over_in_one_up(rehearsal: Rehearsal) -> None:
    item, (token,) = rehearsal.onepassword.item(TITLE)["id"], active_tokens(rehearsal)
    rehearsal.onepassword.app.forget()
    assert rehearsal.program.up("dev", "--skip-preview").changes["item"] == "update"
    assert [call.method for call in rehearsal.onepassword.app.writes] == ["PUT"]
    assert not rehearsal.program.up("dev", "--skip-preview").changes
    is_taken_over(rehearsal, item, token["id"])


@pytest.mark.usefixtures("released")
def test_an_interrupted_takeover_is_finished_by_the_next_up(rehearsal: Rehearsal) -> None:
    item, (token,) = rehearsal.onepassword.item(TITLE)["id"], active_tokens(rehearsal)
    kill_at(rehearsal, "PUT", "up", "--target", "**::item")
    ops(rehearsal, "recover", "dev", timeout=120)
    rehearsal.program.up("dev", "--skip-preview")
    is_taken_over(rehearsal, item, token["id"])


@pytest.mark.parametrize("stuck", ["gone", "rotated"])
def test_recover_frees_a_stuck_stack_of_the_last_release(rehearsal: Rehearsal, released: Program, stuck: str) -> None:
    program = rehearsal.program
    if stuck == "gone":
        deleted_by_hand(rehearsal)
    else:
        program = rotated(rehearsal)
    with pytest.raises(EngineError, match="Could not get item"):
        replace(released, environment=program.environment).up("dev")
    rehearsal = replace(rehearsal, program=program)
    assert "released, for `up` to take over" in ops(rehearsal, "recover", "dev", timeout=120)
    program.up("dev", "--skip-preview")
    assert shows_the_token_in_use(rehearsal)
    is_destroyed(rehearsal, program)
