"""Emulates the 1Password Connect server, as far as the provider's client uses it (connect-sdk-go 1.5.3).

Items are kept in Connect's JSON form. The answer to a PUT has the old version, and a GET after it shows the next one,
because the client waits for that. As in 1Password, titles are not unique. The texts of refusals come from issues
1Password/connect#82 and 1Password/terraform-provider-onepassword#24. Left out: files, PATCH, the activity log.
"""

from __future__ import annotations

import copy
import datetime as dt
import re
import secrets
import string
from dataclasses import dataclass
from typing import Any, Final, Self

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rehearsal.homelab import VAULT
from rehearsal.vendors.server import Service

Item = dict[str, Any]

UNNAMED: Final = "add more"
"""Id of the section without a label in which 1Password's apps put the fields that a user adds."""

_FILTER: Final = re.compile(r'^(title|name) eq "(.*)"$')
_UNRETURNED: Final = {"fields", "sections", "files"}  # left out of lists of items


def new_id() -> str:
    """An id in 1Password's format; the client takes anything else for a title."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(26))


@dataclass(frozen=True, kw_only=True)
class _Grant:
    """What a token may access: vault ids, None for all."""

    vaults: frozenset[str] | None = None
    write: bool = True


class OnePassword:
    """Vaults and items in memory. `app` is what to serve; `handed_out` holds every secret value that ever left it."""

    def __init__(self) -> None:
        self._grants: dict[str, _Grant] = {}
        self.token = self._issue(_Grant())
        self.handed_out: set[str] = set()
        self._vaults: dict[str, dict[str, Any]] = {}
        self._items: dict[str, Item] = {}
        self.app = Service(
            Starlette(
                routes=[
                    Route("/v1/vaults", self._list_vaults),
                    Route("/v1/vaults/{vault}", self._get_vault),
                    Route("/v1/vaults/{vault}/items", self._list_items),
                    Route("/v1/vaults/{vault}/items", self._create_item, methods=["POST"]),
                    Route("/v1/vaults/{vault}/items/{item}", self._get_item),
                    Route("/v1/vaults/{vault}/items/{item}", self._put_item, methods=["PUT"]),
                    Route("/v1/vaults/{vault}/items/{item}", self._delete_item, methods=["DELETE"]),
                ],
                exception_handlers={HTTPException: _refusal},
            )
        )

    @classmethod
    def seeded(cls) -> Self:
        """With the items that the stack files refer to; every value is newly generated."""
        server = cls()
        server.add_vault(VAULT)
        for stack in ("Dev", "Prod"):
            password = secrets.token_hex(20)
            server.put(
                f"Invoicetron {stack}",
                {
                    "postgres-password": password,
                    "better-auth-secret": secrets.token_hex(32),
                    "database-url": _database_url(password),
                },
            )
        return server

    def rotate(self, stack: str) -> None:
        """Changes a database password as a user does: the password, and the URL that holds it."""
        password, title = secrets.token_hex(20), f"Invoicetron {stack.capitalize()}"
        self.set_field(title, "postgres-password", password)
        self.set_field(title, "database-url", _database_url(password))

    def issue_token(self, *vaults: str, write: bool = True) -> str:
        """A token for the named vaults only, read-only unless `write`; `token` is for all vaults."""
        return self._issue(_Grant(vaults=frozenset(map(self._vault_id, vaults)), write=write))

    def revoke_token(self, token: str) -> None:
        """Refuses the token from now on."""
        del self._grants[token]

    def _issue(self, grant: _Grant) -> str:
        token = secrets.token_urlsafe(32)
        self._grants[token] = grant
        return token

    def add_vault(self, name: str) -> str:
        """Makes a vault; returns its id."""
        id_, now = new_id(), _now()
        self._vaults[id_] = {
            "id": id_,
            "name": name,
            "description": "",
            "type": "USER_CREATED",
            "attributeVersion": 1,
            "contentVersion": 1,
            "createdAt": now,
            "updatedAt": now,
        }
        return id_

    def put(
        self,
        title: str,
        fields: dict[str, str],
        *,
        username: str = "",
        password: str = "",
        vault: str = VAULT,
        section: str | None = UNNAMED,
    ) -> str:
        """Makes an item with concealed `fields` in a section (None: outside any section); returns its id."""
        builtin = [
            {"id": "username", "type": "STRING", "purpose": "USERNAME", "label": "username", "value": username},
            {"id": "password", "type": "CONCEALED", "purpose": "PASSWORD", "label": "password", "value": password},
        ]
        item: Item = {"title": title, "category": "LOGIN", "sections": [], "fields": builtin}
        for label, value in fields.items():
            _add(item, label, value, section)
        return self._store(item, self._vault_id(vault))

    def set_field(self, title: str, label: str, value: str) -> None:
        """Changes a field of the one item with that title, as a user does in the app."""
        item = self.item(title)
        field = next(field for field in item["fields"] if field["label"] == label)
        field["value"] = value
        _touch(item)

    def add_field(self, title: str, label: str, value: str, *, section: str | None = UNNAMED) -> None:
        """Adds a concealed field to the one item with that title, which may already have one with that label."""
        item = self.item(title)
        _add(item, label, value, section)
        _touch(item)

    def remove_field(self, title: str, label: str) -> None:
        """Removes all fields with that label from the one item with that title."""
        item = self.item(title)
        item["fields"] = [field for field in item["fields"] if field["label"] != label]
        _touch(item)

    def item(self, title: str) -> Item:
        """The one item with that title; not a copy."""
        (found,) = [item for item in self._items.values() if item["title"] == title]
        return found

    def titles(self) -> list[str]:
        """Titles of all items."""
        return sorted(item["title"] for item in self._items.values())

    def delete(self, title: str) -> None:
        """Deletes the one item with that title."""
        del self._items[self.item(title)["id"]]

    def purge(self) -> None:
        """Empties the archive: deletes the items that have a `state`."""
        self._items = {id_: item for id_, item in self._items.items() if "state" not in item}

    def _vault_id(self, name: str) -> str:
        (id_,) = [vault["id"] for vault in self._vaults.values() if vault["name"] == name]
        return str(id_)

    def _store(self, item: Item, vault: str) -> str:
        now, id_ = _now(), new_id()
        self._items[id_] = {**item, "id": id_, "vault": {"id": vault}, "version": 1, "createdAt": now, "updatedAt": now}
        return id_

    async def _list_vaults(self, request: Request) -> Response:
        grant = self._grant(request)
        visible = [one for one in self._vaults.values() if grant.vaults is None or one["id"] in grant.vaults]
        return JSONResponse([self._shown(one["id"]) for one in _filtered(request, visible, "name")])

    async def _get_vault(self, request: Request) -> Response:
        return JSONResponse(self._shown(self._vault(request)))

    async def _list_items(self, request: Request) -> Response:
        vault = self._vault(request)
        mine = [item for item in self._items.values() if item["vault"]["id"] == vault]
        summaries = [{k: v for k, v in item.items() if k not in _UNRETURNED} for item in mine]
        return JSONResponse(_filtered(request, summaries, "title"))

    async def _get_item(self, request: Request) -> Response:
        return self._hand_out(self._item(request))

    async def _create_item(self, request: Request) -> Response:
        vault = self._vault(request, write=True)
        return self._hand_out(self._store(_received(await request.json(), vault), vault))

    async def _put_item(self, request: Request) -> Response:
        id_ = self._item(request, write=True)
        old = self._items[id_]
        kept = {key: old[key] for key in ("id", "vault", "createdAt", "updatedAt", "version")}
        self._items[id_] = {**_received(await request.json(), old["vault"]["id"]), **kept}
        answer = self._hand_out(id_)
        _touch(self._items[id_])
        return answer

    async def _delete_item(self, request: Request) -> Response:
        del self._items[self._item(request, write=True)]
        return Response(status_code=204)

    def _grant(self, request: Request) -> _Grant:
        """What the request's token may do; 401 if there is no such token."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or token not in self._grants:
            raise HTTPException(401, "Invalid token signature")
        return self._grants[token]

    def _vault(self, request: Request, *, write: bool = False) -> str:
        """Id of the request's vault, if the request's token has that access to it."""
        grant, vault = self._grant(request), str(request.path_params["vault"])
        if grant.vaults is not None and vault not in grant.vaults:
            raise HTTPException(403, f"vault {vault} is not in scope")
        if vault not in self._vaults:
            raise HTTPException(404, f"vault {vault} not found")
        if write and not grant.write:
            raise HTTPException(401, "Unauthorized Request, token does not have write access to the Vault")
        return vault

    def _item(self, request: Request, *, write: bool = False) -> str:
        """Id of the request's item, if the request's token has that access to it."""
        vault, id_ = self._vault(request, write=write), str(request.path_params["item"])
        if id_ not in self._items or self._items[id_]["vault"]["id"] != vault:
            raise HTTPException(404, f"item {id_} not found")
        return id_

    def _shown(self, vault: str) -> dict[str, Any]:
        items = [item for item in self._items.values() if item["vault"]["id"] == vault]
        return {**self._vaults[vault], "items": len(items)}

    def _hand_out(self, id_: str) -> Response:
        item = copy.deepcopy(self._items[id_])
        self.handed_out |= {
            field["value"] for field in item["fields"] if field["type"] == "CONCEALED" and field.get("value")
        }
        return JSONResponse(item)


def _database_url(password: str) -> str:
    return f"postgresql://invoicetron:{password}@invoicetron-db:5432/invoicetron"


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _touch(item: Item) -> None:
    item["version"] += 1
    item["updatedAt"] = _now()


def _add(item: Item, label: str, value: str, section: str | None) -> None:
    field: dict[str, Any] = {"id": new_id(), "type": "CONCEALED", "label": label, "value": value}
    if section is not None:
        field["section"] = {"id": section}
        if section not in [known["id"] for known in item["sections"]]:
            item["sections"].append({"id": section, **({} if section == UNNAMED else {"label": section})})
    item["fields"].append(field)


def _received(item: Item, vault: str) -> Item:
    """The item that a client wrote, with what 1Password adds: ids, and the values that it is asked to generate."""
    if item.get("vault", {}).get("id") != vault:
        raise HTTPException(400, "The item's vault is not the vault of the path")
    if not item.get("category"):
        raise HTTPException(400, "The item has no category")
    for field in item.setdefault("fields", []):
        field["id"] = field.get("id") or new_id()
        if field.pop("generate", False):
            field["value"] = secrets.token_urlsafe(24)
    return item


def _filtered(request: Request, objects: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    asked = request.query_params.get("filter")
    if asked is None:
        return objects
    parsed = _FILTER.match(asked)
    if parsed is None or parsed[1] not in {name, "title"}:  # Connect accepts title for a vault's name
        raise HTTPException(400, "Invalid filter")
    return [one for one in objects if one[name] == parsed[2]]


def _refusal(_request: Request, error: Exception) -> Response:
    """Connect's error body."""
    if not isinstance(error, HTTPException):
        raise error
    return JSONResponse({"status": error.status_code, "message": error.detail}, status_code=error.status_code)
