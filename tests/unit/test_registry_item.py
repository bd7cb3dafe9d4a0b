"""The item that a stack writes its deploy token to: what is written, what is left alone, what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from starlette.types import ASGIApp

from components.registry_item import RegistryItemError, _RegistryItemProvider, written
from rehearsal.homelab import VAULT
from rehearsal.vendors.onepassword import OnePassword, new_id
from rehearsal.vendors.server import Fault

TITLE = "App Deploy Token"


@pytest.fixture
def onepassword() -> OnePassword:
    server = OnePassword()
    server.add_vault(VAULT)
    return server


@pytest.fixture(autouse=True)
def _environment(served: Callable[[ASGIApp], str], onepassword: OnePassword, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OP_SERVICE_ACCOUNT_TOKEN", "OP_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("components.registry_item.time.sleep", lambda _: None)
    monkeypatch.setenv("OP_CONNECT_HOST", served(onepassword.app))
    monkeypatch.setenv("OP_CONNECT_TOKEN", onepassword.token)


@pytest.fixture
def props(onepassword: OnePassword) -> dict[str, Any]:
    return {
        "vault": onepassword._vault_id(VAULT),
        "title": TITLE,
        "username": "deployer",
        "password": "first-password",
        "token_name": "invoicetron-pull-test",
        "owner": "invoicetron/test",
    }


provider = _RegistryItemProvider()


def login(item: dict[str, Any]) -> tuple[str, str]:
    by_purpose = {one["purpose"]: one["value"] for one in item["fields"] if one.get("purpose")}
    return by_purpose["USERNAME"], by_purpose["PASSWORD"]


def marks(item: dict[str, Any]) -> dict[str, str]:
    (section,) = [one["id"] for one in item["sections"] if one.get("label") == "issued by pulumi"]
    return {one["label"]: one["value"] for one in item["fields"] if (one.get("section") or {}).get("id") == section}


def test_an_item_is_written_once_and_read_back_as_it_was_written(
    onepassword: OnePassword, props: dict[str, Any]
) -> None:
    made = provider.create(props)
    item = onepassword.item(TITLE)
    assert made.id == f"vaults/{props['vault']}/items/{item['id']}"
    assert login(item) == ("deployer", "first-password")
    assert marks(item) == {"deploy token": "invoicetron-pull-test", "stack": "invoicetron/test"}
    outs = provider.read(made.id, props).outs or {}
    assert not provider.diff(made.id, outs, props).changes


def test_additions_by_hand_stay_in_an_item_that_is_written_to(onepassword: OnePassword, props: dict[str, Any]) -> None:
    onepassword.put(TITLE, {"remark": "ask first"}, username="old", password="old")
    onepassword.item(TITLE)["tags"] = ["team"]
    provider.create(props)
    item = onepassword.item(TITLE)
    assert login(item) == ("deployer", "first-password")
    assert item["tags"] == ["team"]
    assert [one["value"] for one in item["fields"] if one["label"] == "remark"] == ["ask first"]


def test_writing_twice_writes_the_same_and_the_second_time_nothing(
    onepassword: OnePassword, props: dict[str, Any]
) -> None:
    provider.create(props)
    once = copy.deepcopy(onepassword.item(TITLE))
    assert written(once, props) == once
    onepassword.app.forget()
    provider.create(props)
    assert not onepassword.app.writes


def test_a_lost_answer_to_the_creation_makes_no_second_item(onepassword: OnePassword, props: dict[str, Any]) -> None:
    onepassword.app.fail(Fault(reset=True, after_effect=True), method="POST")
    provider.create(props)
    assert onepassword.titles() == [TITLE]


@pytest.mark.parametrize(("method", "status"), [("POST", 503), ("GET", 503), ("POST", 409)])
def test_requests_to_a_restarting_server_or_beside_another_write_are_retried(
    onepassword: OnePassword, props: dict[str, Any], method: str, status: int
) -> None:
    onepassword.app.fail(Fault(status=status, body=b"{}"), method=method, times=2)
    provider.create(props)
    assert login(onepassword.item(TITLE)) == ("deployer", "first-password")


def test_a_server_that_stays_away_is_named_and_the_password_is_not(
    onepassword: OnePassword, props: dict[str, Any]
) -> None:
    onepassword.app.fail(Fault(status=503, body=b'{"message": "not ready"}'), times=99)
    with pytest.raises(RegistryItemError, match=r"'App Deploy Token' cannot be read or written.*not ready") as refused:
        provider.create(props)
    assert "first-password" not in str(refused.value)


def test_contradictory_credentials_are_refused_on_destroy_too(
    props: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OP_ACCOUNT", "my")
    with pytest.raises(RegistryItemError, match="contradict each other"):
        provider.delete(f"vaults/{props['vault']}/items/{new_id()}", props)


@pytest.mark.parametrize("gone", ["deleted", "ARCHIVED", "DELETED"])
def test_an_item_that_was_deleted_is_no_error(onepassword: OnePassword, props: dict[str, Any], gone: str) -> None:
    made = provider.create(props)
    if gone == "deleted":
        onepassword.delete(TITLE)
    else:
        onepassword.item(TITLE)["state"] = gone
    assert provider.read(made.id, props).id == ""
    provider.delete(made.id, props)
    again = provider.create(props)
    assert again.id != made.id


def test_a_lost_answer_to_the_deletion_is_no_error(onepassword: OnePassword, props: dict[str, Any]) -> None:
    made = provider.create(props)
    onepassword.app.fail(Fault(reset=True, after_effect=True), method="DELETE")
    provider.delete(made.id, props)
    assert onepassword.titles() == []


@pytest.mark.parametrize(
    "theirs",
    [
        {"owner": "invoicetron/other", "token_name": "invoicetron-pull-other"},
        {"owner": "another/test", "token_name": "invoicetron-pull-test"},
    ],
)
def test_another_stack_s_item_is_neither_written_nor_deleted(
    onepassword: OnePassword, props: dict[str, Any], theirs: dict[str, str]
) -> None:
    made = provider.create({**props, **theirs})
    before = copy.deepcopy(onepassword.item(TITLE))
    with pytest.raises(RegistryItemError, match=f"has the mark of {theirs['owner']}, and this stack is"):
        provider.create(props)
    provider.delete(made.id, props)
    assert provider.read(made.id, props).id == ""
    assert onepassword.item(TITLE) == before


def test_an_item_of_another_category_is_refused(onepassword: OnePassword, props: dict[str, Any]) -> None:
    onepassword.put(TITLE, {})
    onepassword.item(TITLE)["category"] = "API_CREDENTIAL"
    with pytest.raises(RegistryItemError, match="is a API_CREDENTIAL, not a login"):
        provider.create(props)


def test_what_a_user_added_outlives_the_token(onepassword: OnePassword, props: dict[str, Any]) -> None:
    onepassword.put(TITLE, {"remark": "ask first"}, username="old", password="old")
    made = provider.create(props)
    provider.delete(made.id, props)
    item = onepassword.item(TITLE)
    assert login(item) == ("", "")
    assert {one["label"]: one["value"] for one in item["fields"] if one["value"]} == {"remark": "ask first"}
    assert "issued by pulumi" not in [one.get("label") for one in item["sections"]]
    onepassword.app.forget()
    provider.delete(made.id, props)  # as after a lost answer
    assert not onepassword.app.writes


@pytest.mark.parametrize(
    "added",
    [{"purpose": "NOTES", "value": "the old registry's"}, {"section": {"id": "issued_by_pulumi"}, "value": "restic's"}],
)
def test_notes_and_fields_beside_the_marks_are_additions_too(
    onepassword: OnePassword, props: dict[str, Any], added: dict[str, Any]
) -> None:
    made = provider.create(props)
    onepassword.item(TITLE)["fields"].append({"id": "x", "type": "STRING", "label": "added", **added})
    provider.delete(made.id, props)
    (left,) = [one for one in onepassword.item(TITLE)["fields"] if one["value"]]
    assert left["value"] == added["value"]


def test_a_file_is_an_addition_too(onepassword: OnePassword, props: dict[str, Any]) -> None:
    made = provider.create(props)
    onepassword.item(TITLE)["files"] = [{"id": "f" * 26, "name": "scan.pdf"}]
    provider.delete(made.id, props)
    assert onepassword.item(TITLE)["files"]


def test_two_items_with_the_title_are_refused(onepassword: OnePassword, props: dict[str, Any]) -> None:
    for _ in range(2):
        onepassword.put(TITLE, {})
    with pytest.raises(RegistryItemError, match="several items called"):
        provider.create(props)


def test_an_item_that_the_stack_file_names_by_uuid_keeps_it(onepassword: OnePassword, props: dict[str, Any]) -> None:
    uuid = onepassword.put(TITLE, {})
    onepassword.put(TITLE, {})
    made = provider.create({**props, "item": uuid})
    assert made.id.endswith(uuid)


def test_state_left_by_the_provider_s_own_item_is_updated_in_place(props: dict[str, Any]) -> None:
    id_ = f"vaults/{props['vault']}/items/{new_id()}"
    left = {"vault": props["vault"], "title": TITLE, "username": "deployer", "category": "login", "uuid": id_[-26:]}
    found = provider.diff(id_, left, props)
    assert found.changes
    assert not found.replaces


@pytest.mark.parametrize("change", [{"vault": "v" * 26}, {"item": "i" * 26}])
def test_another_vault_or_item_is_written_before_the_old_one_is_deleted(
    props: dict[str, Any], change: dict[str, str]
) -> None:
    found = provider.diff(f"vaults/{props['vault']}/items/{new_id()}", props, {**props, **change})
    assert found.replaces == list(change)
    assert not found.delete_before_replace


def test_another_title_renames_the_item(onepassword: OnePassword, props: dict[str, Any]) -> None:
    made = provider.create(props)
    news = {**props, "title": "Another"}
    assert not provider.diff(made.id, props, news).replaces
    provider.update(made.id, props, news)
    assert onepassword.titles() == ["Another"]


def test_a_title_that_another_item_has_means_that_item(onepassword: OnePassword, props: dict[str, Any]) -> None:
    made = provider.create(props)
    prepared = onepassword.put("Prepared", {"note": "by hand"})
    news = {**props, "title": "Prepared"}
    found = provider.diff(made.id, props, news)
    assert found.replaces == ["title"]
    assert not found.delete_before_replace
    assert provider.create(news).id.endswith(prepared)
    provider.delete(made.id, props)
    assert onepassword.titles() == ["Prepared"]
    assert login(onepassword.item("Prepared")) == ("deployer", "first-password")
