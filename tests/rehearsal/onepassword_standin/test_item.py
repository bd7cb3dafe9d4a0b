"""The life of an Item under the stand-in for pulumi-onepassword, and its previews."""

from __future__ import annotations

import pytest

from rehearsal.plugins.values import UNKNOWN, Properties, Secret, plain
from rehearsal.vendors.onepassword import OnePassword
from rehearsal.vendors.server import Fault
from tests.rehearsal.onepassword_standin.provider import ITEM, URN, Item, Provider, RefusedError, value


@pytest.mark.parametrize(
    ("changes", "property_"),
    [({"category": "passport"}, "category"), ({"vault": None}, "vault"), ({"passwrd": "x"}, "passwrd")],
)
def test_check_names_the_input_that_is_wrong(
    provider: Provider, inputs: Properties, changes: Properties, property_: str
) -> None:
    answer = provider.call("Check", urn=URN, news={**inputs, **changes})
    assert [failure.property for failure in answer.failures] == [property_]


def test_a_created_item_holds_what_was_given(onepassword: OnePassword, item: Item, inputs: Properties) -> None:
    item.create(inputs)
    made = onepassword.item("Invoicetron Dev Registry")
    assert item.id == f"vaults/{inputs['vault']}/items/{made['id']}"
    assert {field["label"]: field.get("value") for field in made["fields"]} == {
        "username": "gitlab+deploy-token-7",
        "password": "gldt-first",
        "notesPlain": "",
    }


def test_password_and_notes_are_secret_and_the_username_is_not(item: Item, inputs: Properties) -> None:
    item.create({**inputs, "noteValue": "hush"})
    assert item.outputs["password"] == Secret("gldt-first")
    assert item.outputs["noteValue"] == Secret("hush")
    assert item.outputs["username"] == "gitlab+deploy-token-7"


def test_a_value_in_a_section_is_plain_unless_it_was_given_as_a_secret(item: Item, inputs: Properties) -> None:
    section = {"label": "gitlab", "fields": [{"label": "scopes", "type": "STRING", "value": "read_registry"}]}
    item.create({**inputs, "sections": [section]})
    assert value(item.outputs, "scopes") == "read_registry"
    section["fields"] = [{"label": "scopes", "type": "STRING", "value": Secret("hush")}]
    item.update({**inputs, "sections": [section]})
    assert isinstance(item.outputs["sections"], Secret)


def test_a_missing_password_is_generated_and_kept(onepassword: OnePassword, item: Item, inputs: Properties) -> None:
    del inputs["password"]
    item.create(inputs)
    generated = plain(item.outputs["password"])
    assert len(generated) >= 20
    assert generated in onepassword.handed_out
    item.update({**inputs, "username": "another"})
    assert plain(item.outputs["password"]) == generated
    item.create(inputs)
    assert plain(item.outputs["password"]) != generated


def test_creating_an_item_with_a_title_in_use_makes_a_second_one(
    onepassword: OnePassword, item: Item, inputs: Properties
) -> None:
    item.create({**inputs, "title": ITEM})
    assert onepassword.titles().count(ITEM) == 2


def test_an_input_given_as_a_secret_stays_a_secret(item: Item, inputs: Properties) -> None:
    item.create({**inputs, "username": Secret("hush")})
    assert item.outputs["username"] == Secret("hush")
    item.read()
    assert (item.inputs["username"], item.outputs["username"]) == (Secret("hush"), Secret("hush"))


@pytest.mark.parametrize("extra", [{}, {"sections": [{"label": "a", "fields": [{"label": "b", "value": "c"}]}]}])
def test_a_refresh_of_an_untouched_item_finds_nothing_to_change(
    item: Item, inputs: Properties, extra: Properties
) -> None:
    wanted = {**inputs, **extra}
    item.create(wanted)
    item.read()
    assert not item.diff(wanted).diffs


def test_a_refresh_finds_a_manual_change_and_an_update_reverts_it(
    onepassword: OnePassword, item: Item, inputs: Properties
) -> None:
    item.create(inputs)
    onepassword.set_field("Invoicetron Dev Registry", "password", "by hand")
    item.read()
    assert item.inputs["password"] == Secret("by hand")
    assert list(item.diff(inputs).diffs) == ["password"]
    item.update(inputs)
    assert not item.diff(inputs).diffs
    fields = onepassword.item("Invoicetron Dev Registry")["fields"]
    assert "gldt-first" in [field.get("value") for field in fields]


def test_an_update_overwrites_the_whole_item(onepassword: OnePassword, item: Item, inputs: Properties) -> None:
    item.create(inputs)
    onepassword.add_field("Invoicetron Dev Registry", "added by hand", "lost")
    item.update({**inputs, "password": Secret("gldt-second")})
    made = onepassword.item("Invoicetron Dev Registry")
    assert "added by hand" not in [field["label"] for field in made["fields"]]
    assert (made["version"], item.outputs["password"]) == (3, Secret("gldt-second"))


@pytest.mark.parametrize("change", [{"vault": "a" * 26}, {"category": "password"}])
def test_another_vault_or_category_replaces_the_item(item: Item, inputs: Properties, change: Properties) -> None:
    item.create(inputs)
    assert list(item.diff({**inputs, **change}).replaces) == list(change)


def test_an_item_that_was_deleted_by_hand_fails_the_refresh(
    onepassword: OnePassword, item: Item, inputs: Properties
) -> None:
    item.create(inputs)
    onepassword.delete("Invoicetron Dev Registry")
    with pytest.raises(RefusedError, match=r"1Password Item read error: Could not get item .* status 404"):
        item.read()


def test_an_item_made_by_hand_is_imported_and_then_overwritten(
    onepassword: OnePassword, item: Item, inputs: Properties
) -> None:
    made = onepassword.put("Invoicetron Dev Registry", {"note": "by hand"}, username="somebody", password="old")
    item.read(f"vaults/{inputs['vault']}/items/{made}")
    assert item.inputs["password"] == Secret("old")
    assert sorted(item.diff(inputs).diffs) == ["password", "sections", "username"]
    item.update(inputs)
    item.read()
    assert not item.diff(inputs).diffs
    assert onepassword.titles().count("Invoicetron Dev Registry") == 1


def test_a_deleted_item_is_gone_and_cannot_be_deleted_again(
    onepassword: OnePassword, item: Item, inputs: Properties
) -> None:
    item.create(inputs)
    item.delete()
    assert "Invoicetron Dev Registry" not in onepassword.titles()
    with pytest.raises(RefusedError, match="1Password Item delete error"):
        item.delete()


def test_a_lost_answer_to_a_creation_leaves_an_item_behind(
    onepassword: OnePassword, item: Item, inputs: Properties
) -> None:
    onepassword.app.fail(Fault(reset=True, after_effect=True), method="POST")
    with pytest.raises(RefusedError, match="1Password Item create error"):
        item.create(inputs)
    assert "Invoicetron Dev Registry" in onepassword.titles()


def test_a_fault_after_the_creation_does_not_fail_it(onepassword: OnePassword, item: Item, inputs: Properties) -> None:
    onepassword.app.fail(Fault(status=500, body=b"{}"), method="GET", path="/items/")
    item.create(inputs)
    assert item.id


def test_a_server_that_is_slow_to_show_a_new_item_is_waited_for(
    onepassword: OnePassword, item: Item, inputs: Properties
) -> None:
    missing = Fault(status=404, body=b'{"status": 404, "message": "item not found"}')
    onepassword.app.fail(missing, method="GET", path="/items/", times=2)
    item.create(inputs)
    assert [call.status for call in onepassword.app.log if "/items/" in call.path] == [404, 404, 200]


# Previews


def test_previews_write_nothing(onepassword: OnePassword, item: Item, inputs: Properties) -> None:
    item.create(inputs, preview=True)
    assert not onepassword.app.writes
    item.create(inputs)
    before = len(onepassword.app.writes)
    item.update({**inputs, "username": "another"}, preview=True)
    assert len(onepassword.app.writes) == before


def test_the_preview_of_a_creation_does_not_know_the_uuid(item: Item, inputs: Properties) -> None:
    item.create({**inputs, "username": UNKNOWN}, preview=True)
    assert (item.outputs["uuid"], item.outputs["username"]) == (UNKNOWN, UNKNOWN)


def test_the_preview_of_an_update_keeps_unknown_and_secret_values(item: Item, inputs: Properties) -> None:
    item.create({**inputs, "noteValue": "hush"})
    uuid = item.outputs["uuid"]
    item.update({**inputs, "username": UNKNOWN, "password": Secret(UNKNOWN)}, preview=True)
    assert (item.outputs["uuid"], item.outputs["username"]) == (uuid, UNKNOWN)
    assert item.outputs["password"] == Secret(UNKNOWN)
    assert "noteValue" not in item.outputs  # no longer given
