"""The stand-in for pulumi-onepassword against the emulated Connect server, spoken to over gRPC as the engine speaks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from rehearsal.emulators.onepassword import UNNAMED, OnePassword, new_id
from rehearsal.emulators.server import Fault, serve
from rehearsal.plugins.values import UNKNOWN, Properties, Secret, decode, encode, plain

ITEM = "Invoicetron Dev"
URN = "urn:pulumi:dev::invoicetron::onepassword:index/item:Item::item"


class RefusedError(Exception):
    """What the engine would show."""


class Provider:
    """One process of the plugin, in the engine's place."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rehearsal.plugins.onepassword"],
            cwd=Path(__file__).parents[2],
            env={**{name: text for name, text in os.environ.items() if not name.startswith("OP_")}, **environment},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self._channel = grpc.insecure_channel(f"127.0.0.1:{int(self._process.stdout.readline())}")
        self._stub = provider_pb2_grpc.ResourceProviderStub(self._channel)

    def stop(self) -> None:
        self._channel.close()
        self._process.terminate()
        self._process.wait(timeout=10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def call(self, method: str, **fields: Any) -> Any:
        """A request of the protocol; properties are given as plain values, `Secret` and `UNKNOWN`."""
        encoded = {name: encode(value) if isinstance(value, dict) else value for name, value in fields.items()}
        request = getattr(provider_pb2, f"{method}Request")(**encoded)
        try:
            return getattr(self._stub, method)(request, timeout=30)
        except grpc.RpcError as error:
            raise RefusedError(error.details()) from None

    def configure(self, **config: str) -> None:
        self.call("Configure", args=config, acceptSecrets=True)

    def invoke(self, function: str, **arguments: str) -> Properties:
        answer = self.call("Invoke", tok=f"onepassword:index/{function}:{function}", args=arguments)
        return decode(getattr(answer, "return"))


class Item:
    """An Item resource with what the engine remembers of it."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.id, self.inputs, self.outputs = "", Properties(), Properties()

    def check(self, inputs: Properties) -> Properties:
        answer = self._provider.call("Check", urn=URN, news=inputs, olds=self.inputs)
        assert not answer.failures, answer.failures
        return decode(answer.inputs)

    def create(self, inputs: Properties, *, preview: bool = False) -> None:
        checked = self.check(inputs)
        made = self._provider.call("Create", urn=URN, properties=checked, preview=preview)
        self.id, self.inputs, self.outputs = made.id, checked, decode(made.properties)

    def diff(self, inputs: Properties) -> Any:
        remembered = {"olds": self.outputs, "old_inputs": self.inputs}
        return self._provider.call("Diff", urn=URN, id=self.id, news=self.check(inputs), **remembered)

    def update(self, inputs: Properties, *, preview: bool = False) -> None:
        remembered = {"olds": self.outputs, "old_inputs": self.inputs}
        checked = self.check(inputs)
        made = self._provider.call("Update", urn=URN, id=self.id, news=checked, preview=preview, **remembered)
        self.inputs, self.outputs = checked, decode(made.properties)

    def read(self, id_: str | None = None) -> None:
        """A refresh or, with an id, an import."""
        remembered = {} if id_ else {"properties": self.outputs, "inputs": self.inputs}
        found = self._provider.call("Read", urn=URN, id=id_ or self.id, **remembered)
        self.id, self.inputs, self.outputs = found.id, decode(found.inputs), decode(found.properties)

    def delete(self) -> None:
        self._provider.call("Delete", urn=URN, id=self.id, properties=self.outputs)


@pytest.fixture
def onepassword() -> OnePassword:
    return OnePassword.seeded()


@pytest.fixture
def url(onepassword: OnePassword) -> Iterator[str]:
    with serve(onepassword.app) as base:
        yield base


@pytest.fixture(scope="module")
def process() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture
def provider(process: Provider, onepassword: OnePassword, url: str) -> Provider:
    process.configure(url=url, token=onepassword.token)
    return process


@pytest.fixture
def vault(provider: Provider) -> str:
    return str(provider.invoke("getVault", name="Kubernetes")["uuid"])


@pytest.fixture
def item(provider: Provider) -> Item:
    return Item(provider)


@pytest.fixture
def inputs(vault: str) -> Properties:
    return {
        "vault": vault,
        "title": "Invoicetron Dev Registry",
        "category": "login",
        "username": "gitlab+deploy-token-7",
        "password": Secret("gldt-first"),
    }


def value(item: Properties, label: str) -> str:
    """The one value of that label in the item's sections."""
    (found,) = [field["value"] for part in item["sections"] for field in part["fields"] if field["label"] == label]
    return str(found)


# What is read


def test_a_vault_is_found_by_name_and_by_uuid(provider: Provider) -> None:
    vault = provider.invoke("getVault", name="Kubernetes")
    assert vault["id"] == f"vaults/{vault['uuid']}"
    assert provider.invoke("getVault", uuid=vault["uuid"]) == vault


def test_an_item_is_found_by_title_and_by_uuid(provider: Provider, vault: str) -> None:
    item = provider.invoke("getItem", vault=vault, title=ITEM)
    assert item["id"] == f"vaults/{vault}/items/{item['uuid']}"
    assert provider.invoke("getItem", vault=vault, uuid=item["uuid"]) == item


def test_the_section_without_a_name_has_an_id_and_an_empty_label(provider: Provider, vault: str) -> None:
    (section,) = provider.invoke("getItem", vault=vault, title=ITEM)["sections"]
    assert (section["id"], section["label"]) == (UNNAMED, "")
    assert {field["label"] for field in section["fields"]} == {
        "postgres-password",
        "better-auth-secret",
        "database-url",
    }


def test_fields_in_no_section_are_dropped_unless_their_label_is_well_known(
    onepassword: OnePassword, provider: Provider, vault: str
) -> None:
    onepassword.put("Loose", {"hostname": "db.example", "Port": "5432", "postgres-password": "hush"}, section=None)
    item = provider.invoke("getItem", vault=vault, title="Loose")
    assert item["hostname"] == "db.example"
    assert "port" not in item  # labels count in their own case
    assert "hush" not in repr(item)


def test_a_field_in_a_section_that_the_item_does_not_list_is_dropped(
    onepassword: OnePassword, provider: Provider, vault: str
) -> None:
    onepassword.item(ITEM)["sections"].clear()
    assert provider.invoke("getItem", vault=vault, title=ITEM)["sections"] == []


def test_built_in_fields_are_handed_out_beside_the_sections(
    onepassword: OnePassword, provider: Provider, vault: str
) -> None:
    onepassword.put("Login", {}, username="somebody", password="hush")
    item = provider.invoke("getItem", vault=vault, title="Login")
    assert (item["username"], item["password"]) == ("somebody", "hush")


def test_functions_return_plain_values_and_never_secrets(provider: Provider, vault: str) -> None:
    item = provider.invoke("getItem", vault=vault, title=ITEM)
    assert item == plain(item)


def test_every_secret_value_that_left_is_remembered(onepassword: OnePassword, provider: Provider, vault: str) -> None:
    assert not onepassword.handed_out
    item = provider.invoke("getItem", vault=vault, title=ITEM)
    assert onepassword.handed_out == {field["value"] for part in item["sections"] for field in part["fields"]}


def test_a_changed_field_is_read_at_once_and_the_old_value_stays_remembered(
    onepassword: OnePassword, provider: Provider, vault: str
) -> None:
    before = value(provider.invoke("getItem", vault=vault, title=ITEM), "postgres-password")
    onepassword.rotate("dev")
    after = value(provider.invoke("getItem", vault=vault, title=ITEM), "postgres-password")
    assert before != after
    assert {before, after} <= onepassword.handed_out


def test_two_rehearsals_have_no_secret_in_common() -> None:
    def secrets_of(one: OnePassword) -> set[str]:
        items = [one.item(title) for title in one.titles()]
        return {field["value"] for item in items for field in item["fields"] if field["type"] == "CONCEALED"} - {""}

    assert secrets_of(OnePassword.seeded()).isdisjoint(secrets_of(OnePassword.seeded()))


# What is refused


def test_a_vault_that_is_not_there_is_named(provider: Provider) -> None:
    with pytest.raises(RefusedError, match=r"^Client Error: No vault found with name '\"Nowhere\"'$"):
        provider.invoke("getVault", name="Nowhere")


def test_two_vaults_of_a_name_are_refused(onepassword: OnePassword, provider: Provider) -> None:
    onepassword.add_vault("Kubernetes")
    with pytest.raises(RefusedError, match="Multiple vaults found with name"):
        provider.invoke("getVault", name="Kubernetes")


@pytest.mark.parametrize(("title", "count"), [("Nothing", 0), ("Twice", 2)])
def test_a_title_must_be_that_of_one_item(
    onepassword: OnePassword, provider: Provider, vault: str, title: str, count: int
) -> None:
    for _ in range(count):
        onepassword.put(title, {})
    words = f'^Client Error: Unable to read item, got error: Found {count} item\\(s\\) in vault "{vault}" with title'
    with pytest.raises(RefusedError, match=words):
        provider.invoke("getItem", vault=vault, title=title)


def test_an_item_of_another_vault_is_not_found_by_uuid(
    onepassword: OnePassword, provider: Provider, vault: str
) -> None:
    onepassword.add_vault("Private")
    elsewhere = onepassword.put("Elsewhere", {}, vault="Private")
    with pytest.raises(RefusedError, match=f"status 404: item {elsewhere} not found"):
        provider.invoke("getItem", vault=vault, uuid=elsewhere)


@pytest.mark.parametrize("arguments", [{}, {"title": ITEM, "uuid": new_id()}])
def test_an_item_is_asked_for_by_title_or_by_uuid(provider: Provider, vault: str, arguments: dict[str, str]) -> None:
    with pytest.raises(RefusedError, match="exactly one of title, uuid"):
        provider.invoke("getItem", vault=vault, **arguments)


def test_a_wrong_token_is_a_401(process: Provider, url: str) -> None:
    process.configure(url=url, token="wrong")
    with pytest.raises(RefusedError, match=r"^Client Error: Unable to read vault, got error: status 401"):
        process.invoke("getVault", name="Kubernetes")


def test_a_token_for_other_vaults_does_not_see_this_one(
    onepassword: OnePassword, process: Provider, url: str, vault: str
) -> None:
    onepassword.add_vault("Private")
    process.configure(url=url, token=onepassword.issue_token("Private"))
    with pytest.raises(RefusedError, match="No vault found"):
        process.invoke("getVault", name="Kubernetes")
    with pytest.raises(RefusedError, match="status 403: Authorization: token does not have access to vault"):
        process.invoke("getItem", vault=vault, title=ITEM)


def test_a_token_for_reading_creates_nothing(
    onepassword: OnePassword, process: Provider, url: str, inputs: Properties
) -> None:
    process.configure(url=url, token=onepassword.issue_token("Kubernetes", write=False))
    before = onepassword.titles()
    with pytest.raises(RefusedError, match=r"1Password Item create error: .* status 401: Unauthorized Request"):
        Item(process).create(inputs)
    assert onepassword.titles() == before


def test_a_server_that_does_not_answer_is_named_without_its_token(process: Provider) -> None:
    with serve(OnePassword().app) as gone:
        pass
    process.configure(url=gone, token="hush-hush")
    with pytest.raises(RefusedError, match=gone) as refused:
        process.invoke("getVault", name="Kubernetes")
    assert "hush-hush" not in str(refused.value)


def test_an_answer_that_is_not_json_is_refused_in_words(onepassword: OnePassword, provider: Provider) -> None:
    onepassword.app.fail(Fault(status=502, body=b"<html>Bad Gateway</html>"))
    with pytest.raises(RefusedError, match="decoding error response"):
        provider.invoke("getVault", name="Kubernetes")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "Invalid provider configuration"),
        ({"url": "http://127.0.0.1:1"}, "Invalid provider configuration"),
        ({"serviceAccountToken": "ops_hush"}, "no service accounts.*set OP_CONNECT_HOST and OP_CONNECT_TOKEN"),
        ({"url": "http://127.0.0.1:1", "token": "hush", "account": "my"}, "Config conflict.*Both are set"),
    ],
)
def test_credentials_that_do_not_lead_to_one_connect_server_are_refused(
    process: Provider, config: dict[str, str], words: str
) -> None:
    with pytest.raises(RefusedError, match=words) as refused:
        process.configure(**config)
    assert "hush" not in str(refused.value)


def test_without_configuration_the_environment_names_the_server(onepassword: OnePassword, url: str) -> None:
    provider = Provider(OP_CONNECT_HOST=url, OP_CONNECT_TOKEN=onepassword.token)
    try:
        provider.configure()
        assert provider.invoke("getVault", name="Kubernetes")["name"] == "Kubernetes"
    finally:
        provider.stop()


@pytest.mark.parametrize(
    ("changes", "property_"),
    [({"category": "passport"}, "category"), ({"vault": None}, "vault"), ({"passwrd": "x"}, "passwrd")],
)
def test_check_names_the_input_that_is_wrong(
    provider: Provider, inputs: Properties, changes: Properties, property_: str
) -> None:
    answer = provider.call("Check", urn=URN, news={**inputs, **changes})
    assert [failure.property for failure in answer.failures] == [property_]


# The life of an item


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


def test_a_password_that_was_not_given_is_generated_and_kept(
    onepassword: OnePassword, item: Item, inputs: Properties
) -> None:
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


def test_what_was_given_as_a_secret_stays_one(item: Item, inputs: Properties) -> None:
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


def test_a_refresh_finds_what_somebody_changed_and_an_update_puts_it_back(
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


def test_the_preview_of_an_update_keeps_what_is_not_known_yet_and_what_is_secret(
    item: Item, inputs: Properties
) -> None:
    item.create({**inputs, "noteValue": "hush"})
    uuid = item.outputs["uuid"]
    item.update({**inputs, "username": UNKNOWN, "password": Secret(UNKNOWN)}, preview=True)
    assert (item.outputs["uuid"], item.outputs["username"]) == (uuid, UNKNOWN)
    assert item.outputs["password"] == Secret(UNKNOWN)
    assert "noteValue" not in item.outputs  # no longer given
