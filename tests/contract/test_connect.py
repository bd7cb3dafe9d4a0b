"""The emulator of 1Password Connect and all its clients keep to Connect's OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

import httpx
import pytest
from pydantic import TypeAdapter
from starlette.types import Scope

from components.registry_item import _RegistryItemProvider
from lookups.onepassword_client import AccountError, ConnectClient
from rehearsal.homelab import VAULT
from rehearsal.plugins.base import Call, PluginError
from rehearsal.plugins.onepassword import OnePasswordPlugin
from rehearsal.vendors.onepassword import OnePassword, new_id
from rehearsal.vendors.server import serve
from tests.contract.connect_schema import ErrorResponse, FullItem, Item, SentItem, Vault
from tests.contract.held import Held, Operation

TITLE: Final = "Invoicetron Dev Deploy Token"
PROPS: Final = {
    "title": TITLE,
    "username": "gitlab+deploy-token-7",
    "password": "gldt-first",
    "token_name": "invoicetron-pull-dev",
    "owner": "invoicetron/dev",
}
ANSWERS: Final[dict[tuple[str, str], tuple[int, Any]]] = {
    ("GET", "/v1/vaults"): (200, list[Vault]),
    ("GET", "/v1/vaults/{id}"): (200, Vault),
    ("GET", "/v1/vaults/{id}/items"): (200, list[Item]),
    ("POST", "/v1/vaults/{id}/items"): (200, FullItem),
    ("GET", "/v1/vaults/{id}/items/{id}"): (200, FullItem),
    ("PUT", "/v1/vaults/{id}/items/{id}"): (200, FullItem),
    ("DELETE", "/v1/vaults/{id}/items/{id}"): (204, None),
}
"""Every operation in use: the success status, and the shape of its answer."""
# The document says name for vaults; connect-sdk-go, and so the plugin, sends title, which Connect accepts.
FILTER: Final = re.compile(r'(title|name) eq "[^"]+"')


class HeldConnect(Held):
    """Checks the requests to the emulator of Connect, and its answers."""

    @staticmethod
    def operation_of(scope: Scope) -> Operation:
        """Method and path, with `{id}` for ids."""
        return scope["method"], re.sub(r"/[\da-z]{26}(?=/|$)", "/{id}", scope["path"])

    @staticmethod
    def check(operation: Operation, scope: Scope, sent: bytes, status: int, answered: bytes) -> None:
        """Raises if the request or its answer is not what the document says."""
        good, shape = ANSWERS[operation]
        if operation[0] in {"POST", "PUT"}:
            SentItem.model_validate_json(sent)
        for name, value in _query(scope):
            assert name == "filter", name
            assert FILTER.fullmatch(value), value
        if status >= 400:
            assert status in {400, 401, 403, 404}
            assert ErrorResponse.model_validate_json(answered).status == status
        elif shape is None:
            assert (status, answered) == (good, b"")
        else:
            assert status == good
            TypeAdapter(shape).validate_json(answered)


def _query(scope: Scope) -> list[tuple[str, str]]:
    return parse_qsl(scope["query_string"].decode())


@pytest.fixture
def onepassword() -> OnePassword:
    return OnePassword.seeded()


@pytest.fixture
def held(onepassword: OnePassword) -> HeldConnect:
    return HeldConnect(onepassword.app)


@pytest.fixture
def url(held: HeldConnect, monkeypatch: pytest.MonkeyPatch, onepassword: OnePassword) -> Iterator[str]:
    with serve(held) as base:
        for name in ("OP_SERVICE_ACCOUNT_TOKEN", "OP_ACCOUNT"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("OP_CONNECT_HOST", base)
        monkeypatch.setenv("OP_CONNECT_TOKEN", onepassword.token)
        yield base
    assert held.problems == []


def client(url: str, token: str) -> ConnectClient:
    return ConnectClient(url, token, pause=lambda _: None)


def test_the_life_of_the_registry_item(url: str, held: HeldConnect, onepassword: OnePassword) -> None:
    del url
    vault = next(iter(onepassword.item("Invoicetron Dev")["vault"].values()))
    provider, props = _RegistryItemProvider(), {**PROPS, "vault": vault}
    made = provider.create(props)

    def password() -> Any:
        return (provider.read(made.id, props).outs or {})["password"]

    assert password() == "gldt-first"
    provider.update(made.id, props, {**props, "password": "gldt-second"})
    assert password() == "gldt-second"
    provider.delete(made.id, props)
    provider.delete(made.id, props)
    assert provider.read(made.id, props).id == ""
    assert {method for (method, _), _ in held.seen} == {"GET", "POST", "PUT", "DELETE"}


def test_what_ops_reads(url: str, onepassword: OnePassword) -> None:
    reader = client(url, onepassword.token)
    vault = reader.vault(VAULT)
    assert reader.vault(vault) == vault
    item = reader.item(vault, "Invoicetron Dev")
    assert reader.item(vault, item.uuid) == item


def test_what_the_stand_in_for_the_plugin_reads_and_writes(url: str, onepassword: OnePassword) -> None:
    plugin = OnePasswordPlugin()
    plugin.configure({"url": url, "token": onepassword.token})
    vault = plugin.invoke("onepassword:index/getVault:getVault", {"name": VAULT})["uuid"]
    plugin.invoke("onepassword:index/getVault:getVault", {"uuid": vault})
    plugin.invoke("onepassword:index/getItem:getItem", {"vault": vault, "title": "Invoicetron Dev"})
    urn = "urn:pulumi:dev::invoicetron::onepassword:index/item:Item::item"
    inputs = {"vault": vault, "title": TITLE, "category": "login", "username": "user", "password": "first"}
    sections = [{"label": "marks", "fields": [{"label": "stack", "value": "invoicetron/dev"}]}]
    id_, outputs = plugin.create(Call(urn=urn, inputs={**inputs, "sections": sections}))
    plugin.update(Call(urn=urn, id=id_, inputs={**inputs, "password": ""}, olds=outputs))
    plugin.delete(Call(urn=urn, id=id_, olds=outputs))


def test_a_list_has_all_items_of_the_vault_as_connect_has_no_pages(url: str, onepassword: OnePassword) -> None:
    for number in range(250):
        onepassword.put(f"Item {number}", {"field": "value"})
    reader = client(url, onepassword.token)
    assert len(reader.titles(reader.vault(VAULT))) == 250 + len(OnePassword.seeded().titles())


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("operation", [operation for operation in ANSWERS if operation[1] != "/v1/vaults"])
def test_every_refusal_is_connect_s_own(
    url: str, held: HeldConnect, onepassword: OnePassword, operation: tuple[str, str], status: int
) -> None:
    onepassword.add_vault("Private")
    item = onepassword.item("Invoicetron Dev")
    token = {401: "wrong", 403: onepassword.issue_token("Private"), 404: onepassword.token}[status]
    vault = new_id() if status == 404 else item["vault"]["id"]
    path = operation[1].replace("{id}", vault, 1).replace("{id}", item["id"])
    body = {"title": "x", "vault": {"id": vault}, "category": "LOGIN", "fields": []}
    answer = httpx.request(
        operation[0],
        url + path,
        headers={"Authorization": f"Bearer {token}"},
        json=body if operation[0] in {"POST", "PUT"} else None,
        trust_env=False,
    )
    assert answer.status_code == status
    words = {401: "Invalid token signature", 403: f"vault {vault} is not in scope", 404: f"vault {vault} not found"}
    assert answer.json()["message"] == words[status]
    assert (operation, status) in held.seen


def test_a_token_that_may_only_read_is_refused_in_connect_s_words_by_client_and_stand_in(
    url: str, onepassword: OnePassword
) -> None:
    reader = onepassword.issue_token(VAULT, write=False)
    vault = client(url, reader).vault(VAULT)
    item = onepassword.item("Invoicetron Dev")["id"]
    body: dict[str, Any] = {"title": "x", "vault": {"id": vault}, "category": "LOGIN", "fields": [], "id": item}
    for write in (
        lambda: client(url, reader).create(vault, {name: value for name, value in body.items() if name != "id"}),
        lambda: client(url, reader).replace(vault, body),
        lambda: client(url, reader).delete(vault, item),
    ):
        with pytest.raises(AccountError, match="status 401"):
            write()
    plugin = OnePasswordPlugin()
    plugin.configure({"url": url, "token": reader})
    with pytest.raises(PluginError, match="status 401"):
        plugin.create(
            Call(urn="urn:pulumi:dev::i::onepassword:index/item:Item::item", inputs={"vault": vault, "title": "x"})
        )


def test_a_shape_that_the_document_does_not_know_is_noticed(held: HeldConnect, onepassword: OnePassword) -> None:
    onepassword.item("Invoicetron Dev")["colour"] = "blue"
    with serve(held) as base:
        reader = client(base, onepassword.token)
        reader.titles(reader.vault(VAULT))
    assert "colour" in json.dumps(held.problems)
