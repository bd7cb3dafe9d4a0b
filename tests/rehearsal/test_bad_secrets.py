"""Whatever is wrong in 1Password stops the program before it makes anything; the message shows no value."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.engine import EngineError
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools
from rehearsal.vendors.onepassword import OnePassword
from tests.rehearsal.cleanup import rehearsed

ITEM = "Invoicetron Dev"
ANOTHER = "0123456789abcdef0123456789abcdef01234567"
"""A password that nothing has."""

CASES: dict[str, tuple[Callable[[OnePassword], object], str]] = {
    "no item": (lambda server: server.delete(ITEM), "no such item"),
    "two items of that title": (lambda server: server.put(ITEM, {"postgres-password": ANOTHER}), "several items"),
    "no field": (lambda server: server.remove_field(ITEM, "postgres-password"), "postgres-password"),
    "field in two sections": (
        lambda server: server.add_field(ITEM, "postgres-password", ANOTHER, section="Old"),
        "section",
    ),
    "URL with another password": (
        lambda server: server.set_field(
            ITEM, "database-url", f"postgresql://invoicetron:{ANOTHER}@invoicetron-db:5432/invoicetron"
        ),
        "another password",
    ),
}
"""What the account has; tests/unit/test_secret_values.py has every value that is refused."""


@pytest.fixture(scope="module")
def shared(tools: Tools, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """One rehearsal for all of these tests, none of which may make anything."""
    with rehearsed(tools, control_plane, tmp_path_factory.mktemp("world") / "rehearsal") as one:
        yield one


@pytest.fixture
def rehearsal(shared: Rehearsal) -> Iterator[Rehearsal]:
    """A stack without a state, with 1Password and the stack file in their original form."""
    items, file = copy.deepcopy(shared.onepassword._items), shared.program.directory / "Pulumi.dev.yaml"
    text = file.read_text()
    shared.program.init("dev")
    yield shared
    shared.program.run("stack", "rm", "dev", "--yes", "--force", "--preserve-config")
    file.write_text(text)
    shared.onepassword._items = items
    for app in (shared.onepassword.app, shared.gitlab.app):
        app.forget()


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_created_and_the_message_says_what_is_wrong_without_the_value(
    rehearsal: Rehearsal, case: str
) -> None:
    change, message = CASES[case]
    change(rehearsal.onepassword)
    before = everything(rehearsal)
    with pytest.raises(EngineError) as refused:
        rehearsal.program.up("dev")
    assert message in str(refused.value)
    assert not [value for value in rehearsal.onepassword.handed_out if value.strip() and value in str(refused.value)]
    assert everything(rehearsal) == before
    assert not rehearsal.gitlab.app.writes
    assert not rehearsal.onepassword.app.writes


def test_a_vault_that_does_not_exist_is_named(rehearsal: Rehearsal) -> None:
    for secret in ("postgresPassword", "betterAuthSecret", "databaseUrl"):
        rehearsal.configure("dev", f"secrets.{secret}", f"op://Nowhere/{ITEM}/{secret}")
    with pytest.raises(EngineError, match="Nowhere"):
        rehearsal.program.up("dev")


def everything(rehearsal: Rehearsal) -> set[tuple[str, str, str]]:
    """Kind, name and uid of every object that a stack could make, except other tests' that are being deleted."""
    kinds = "namespaces,secrets,services,deployments,statefulsets,pvc,httproutes,resourcequotas,serviceaccounts"
    found = json.loads(rehearsal.kubectl("get", kinds, "-A", "-o", "json"))["items"]
    going = {one["metadata"]["name"] for one in found if one["kind"] == "Namespace" and gone_soon(one)}
    return {
        (one["kind"], one["metadata"]["name"], one["metadata"]["uid"])
        for one in found
        if not gone_soon(one) and one["metadata"].get("namespace") not in going
    }


def gone_soon(one: dict[str, Any]) -> bool:
    return "deletionTimestamp" in one["metadata"]
