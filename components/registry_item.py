"""RegistryItem: the 1Password item in which people find a token in use, for the registry, R2 or Access.

Not the provider's own Item: its plugin records the credentials from its environment and uses those for every later
read, refresh and delete, even after a rotation; and once somebody deletes the item by hand, every run fails. This
resource reads the credentials from the environment on each run, and treats a missing item as deleted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult

from lookups.onepassword_client import AccountError, Body, Client, UnavailableError, client
from lookups.onepassword_item import LOGIN, OWNER, SECTION, TOKEN, item_of, mark, stranger

_PAUSES: Final = (1.0, 3.0, 9.0)  # seconds between attempts, for a Connect server that restarts
_RECORDED: Final = ("vault", "title", "username", "password", "token_name", "owner")
_SECTION_ID: Final = "issued_by_pulumi"
_PURPOSES: Final = ("USERNAME", "PASSWORD")
"""Purposes of the fields that are the login."""
_T = TypeVar("_T")


class RegistryItemError(Exception):
    """The item could not be read or written; the message says why and what to do."""


class _RegistryItemProvider(ResourceProvider):
    """Has no data: pickling records only the name of this class in the state."""

    serialize_as_secret_always = False

    def diff(self, id_: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        elsewhere = ["vault"] if olds.get("vault") != news.get("vault") else []
        if news.get("item") not in {None, _uuid(id_)}:
            elsewhere.append("item")
        # A rename would leave two items of that title, which the next look-up by title refuses.
        elif not elsewhere and olds.get("title") != news.get("title") and _is_of_another(news, id_):
            elsewhere.append("title")
        # A replacement writes the new item first, and then deletes the old one.
        return DiffResult(
            changes=bool(elsewhere) or any(olds.get(name) != news.get(name) for name in _RECORDED),
            replaces=elsewhere,
            delete_before_replace=False,
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        uuid = _asking(props, lambda account: _create(account, props))
        return CreateResult(f"vaults/{props['vault']}/items/{uuid}", _state(props))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        body = _asking(props, lambda account: _own(account, id_, props))
        if body is None:
            return ReadResult("", {})
        item = item_of(body)
        found = {
            "title": item.title,
            "username": item.well_known.get("username", ""),
            "password": item.well_known.get("password", ""),
            "token_name": mark(item, TOKEN) or "",
            "owner": mark(item, OWNER) or "",
        }
        return ReadResult(id_, {**_state(props), **found})

    def update(self, id_: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        def write(account: Client) -> None:
            body = account.get(news["vault"], _uuid(id_))
            if body is None:
                raise RegistryItemError(f"{_named(news)} is gone: run `pulumi up --refresh`, which creates it again")
            _write(account, body, news)

        _asking(news, write)
        return UpdateResult(_state(news))

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        def delete(account: Client) -> None:
            body = _own(account, id_, props)
            if body is None:
                return
            left = released(body)
            if left is None:
                account.delete(props["vault"], _uuid(id_))
            elif left != body:
                account.replace(props["vault"], left)

        _asking(props, delete)


class RegistryItem(Resource, module="registry_item", name="RegistryItem"):
    """A login in 1Password, marked with the stack that issued it.

    `up` updates an existing item with the title and keeps what was added to it by hand. It refuses an item with another
    stack's mark. 1Password deletes an item for good, so one with additions stays, without the login and the marks.

    The credentials are the same as the provider's: OP_CONNECT_HOST and OP_CONNECT_TOKEN or, for the `op` command,
    OP_SERVICE_ACCOUNT_TOKEN or OP_ACCOUNT.
    """

    def __init__(
        self,
        name: str,
        *,
        vault: str,
        title: str,
        item: str | None,
        username: pulumi.Input[str],
        password: pulumi.Input[str],
        token_name: str,
        owner: str,
        setting: str | None = None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        props = {
            "vault": vault,
            "title": title,
            # Key in the stack file, if it is not registry.item.
            **({"setting": setting} if setting else {}),
            # UUID of the item, if the stack file names the item by UUID.
            **({"item": item} if item else {}),
            "username": username,
            "password": pulumi.Output.secret(password),
            "token_name": token_name,
            "owner": owner,
        }
        # An item that an earlier release created with the provider's Item is the same item, with the same id.
        was = pulumi.ResourceOptions(
            aliases=[pulumi.Alias(type_="onepassword:index/item:Item")], additional_secret_outputs=["password"]
        )
        super().__init__(_RegistryItemProvider(), name, props, pulumi.ResourceOptions.merge(opts, was))


def existing(account: Client, props: Mapping[str, Any]) -> list[Body]:
    """The items that the UUID in `props` or, without one, the title refers to, whoever owns them."""
    if named := props.get("item"):
        body = account.get(props["vault"], named)
        return [] if body is None else [body]
    return account.find(props["vault"], props["title"])


def _is_of_another(props: dict[str, Any], id_: str) -> bool:
    """Whether an item other than `id_` already has the title."""
    found = _asking(props, lambda account: existing(account, props))
    return any(one["id"] != _uuid(id_) for one in found)


def _create(account: Client, props: dict[str, Any]) -> str:
    """Creates or updates the item and returns its UUID: after a killed run or a lost answer, it already exists."""
    match existing(account, props):
        case []:
            return str(account.create(props["vault"], written({}, props))["id"])
        case [body]:
            _write(account, body, props)
            return str(body["id"])
    raise RegistryItemError(f"the vault has several items called {props['title']!r}: delete or rename all but one")


def _write(account: Client, body: Body, props: dict[str, Any]) -> None:
    if another := stranger(item_of(body), token=props["token_name"], owner=props["owner"]):
        raise RegistryItemError(
            f"{_named(props)} has the mark of {another}, and this stack is {props['owner']}: "
            f"name another item in {_setting(props)}"
        )
    if body["category"] != LOGIN:
        raise RegistryItemError(
            f"{_named(props)} is a {body['category']}, not a login: name another in {_setting(props)}"
        )
    wanted = written(body, props)
    if wanted != body:
        account.replace(props["vault"], wanted)


def _own(account: Client, id_: str, props: dict[str, Any]) -> Body | None:
    """The item; None if it is gone, or now belongs to another stack."""
    body = account.get(props["vault"], _uuid(id_))
    if body is None or stranger(item_of(body), token=props["token_name"], owner=props["owner"]):
        return None
    return body


def written(body: Body, props: dict[str, Any]) -> Body:
    """The item with the login and the marks; everything else in `body` (empty: a new item) is unchanged."""
    sections = [dict(one) for one in body.get("sections") or ()]
    marks = next((one["id"] for one in sections if one.get("label") == SECTION), None)
    if marks is None:
        marks = _SECTION_ID
        sections.append({"id": marks, "label": SECTION})
    fields = [dict(one) for one in body.get("fields") or ()]
    for purpose, name, kind in (("USERNAME", "username", "STRING"), ("PASSWORD", "password", "CONCEALED")):
        _put(fields, {"id": name, "label": name, "type": kind, "purpose": purpose, "value": props[name]}, "purpose")
    for label, value in ((TOKEN, props["token_name"]), (OWNER, props["owner"])):
        own = {"id": label.replace(" ", "_"), "label": label, "type": "STRING", "section": {"id": marks}}
        _put(fields, {**own, "value": value}, "section", "label")
    return {"category": LOGIN, **body, "title": props["title"], "sections": sections, "fields": fields}


def released(body: Body) -> Body | None:
    """The item without the login and the marks; None if nothing else is in it."""
    marks = {one["id"] for one in body.get("sections") or () if one.get("label") == SECTION}
    kept = [one for one in body.get("fields") or () if not _is_mark(one, marks)]
    if not body.get("files") and all(one.get("purpose") in _PURPOSES or not one.get("value") for one in kept):
        return None
    fields = [{**one, "value": ""} if one.get("purpose") in _PURPOSES else one for one in kept]
    used = {(one.get("section") or {}).get("id") for one in fields}
    sections = [one for one in body.get("sections") or () if one["id"] not in marks - used]
    return {**body, "sections": sections, "fields": fields}


def _is_mark(field: Body, sections: set[str]) -> bool:
    return (field.get("section") or {}).get("id") in sections and field.get("label") in {TOKEN, OWNER}


def _put(fields: list[Body], field: Body, *known_by: str) -> None:
    """Sets the value of the field that matches `field` in the keys `known_by`, or adds `field`."""
    found = next((one for one in fields if all(one.get(key) == field[key] for key in known_by)), None)
    if found is None:
        fields.append(field)
    else:
        found["value"] = field["value"]


def _asking(props: dict[str, Any], run: Callable[[Client], _T]) -> _T:
    """The result of `run`, which is retried while 1Password is unavailable, so it must first read what exists."""
    try:
        account = client(os.environ)
        for pause in _PAUSES:
            try:
                return run(account)
            except UnavailableError:
                time.sleep(pause)
        return run(account)
    except AccountError as error:
        raise RegistryItemError(
            f"{_named(props)} cannot be read or written, says 1Password: {error}. The credentials in the environment "
            "must be valid and may read and write the items of that vault"
        ) from error


def _setting(props: Mapping[str, Any]) -> str:
    return str(props.get("setting") or "registry.item")


def _named(props: Mapping[str, Any]) -> str:
    return f"the {'item' if props.get('setting') else 'registry item'} {props['title']!r}"


def _uuid(id_: str) -> str:
    """UUID of the item in the resource's id, vaults/<vault>/items/<item>; the provider's Item has the same id."""
    return id_.rpartition("/")[2]


def _state(props: dict[str, Any]) -> dict[str, Any]:
    return {name: props[name] for name in _RECORDED}
