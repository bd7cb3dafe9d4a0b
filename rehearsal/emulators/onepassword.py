"""Emulates the 1Password Connect server, as far as the provider's client uses it (facts: connect-sdk-go 1.5.3).

Items are kept as Connect's JSON has them. A PUT is answered with the old version and GET afterwards shows the next one,
because that is what the client waits for.
"""

from __future__ import annotations

import copy
import datetime as dt
import re
import secrets
import string
from typing import Any, Final, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rehearsal.emulators.server import Service

Item = dict[str, Any]

VAULT: Final = "Kubernetes"
UNNAMED: Final = "add more"
"""Id of the section without a label into which 1Password's apps put fields that a person adds."""

_FILTER: Final = re.compile(r'^(title|name) eq "(.*)"$')


def new_id() -> str:
    """An id as 1Password makes them; the client takes anything else for a title."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(26))


class OnePassword:
    """Vaults and items in memory. `app` is what to serve; `handed_out` every secret value that ever left it."""

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)
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
                ]
            )
        )

    @classmethod
    def seeded(cls) -> Self:
        """With what the stack files refer to; every value is made up anew."""
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
        server.put(
            "Invoicetron Deploy Token", {}, username="gitlab+deploy-token-1", password=f"gldt-{secrets.token_hex(10)}"
        )
        return server

    def rotate(self, stack: str) -> None:
        """What a person does to change a database password: the password, and the URL that holds it."""
        password, title = secrets.token_hex(20), f"Invoicetron {stack.capitalize()}"
        self.set_field(title, "postgres-password", password)
        self.set_field(title, "database-url", _database_url(password))

    def add_vault(self, name: str) -> str:
        """Makes a vault; its id."""
        id_ = new_id()
        self._vaults[id_] = {
            "id": id_,
            "name": name,
            "type": "USER_CREATED",
            "attributeVersion": 1,
            "contentVersion": 1,
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
        """Makes an item with concealed `fields` in a section (None: in no section at all); its id."""
        sections = [{"id": section, **({} if section == UNNAMED else {"label": section})}] if section else []
        own = [
            {
                "id": new_id(),
                "type": "CONCEALED",
                "label": label,
                "value": value,
                **({"section": {"id": section}} if section else {}),
            }
            for label, value in fields.items()
        ]
        builtin = [
            {"id": "username", "type": "STRING", "purpose": "USERNAME", "label": "username", "value": username},
            {"id": "password", "type": "CONCEALED", "purpose": "PASSWORD", "label": "password", "value": password},
        ]
        return self._store(
            {"title": title, "category": "LOGIN", "sections": sections, "fields": [*builtin, *own]},
            self._vault_id(vault),
        )

    def set_field(self, title: str, label: str, value: str) -> None:
        """Changes a field of the one item of that title, as a person does in the app."""
        item = self.item(title)
        field = next(field for field in item["fields"] if field["label"] == label)
        field["value"] = value
        item["version"] += 1

    def item(self, title: str) -> Item:
        """The one item of that title, itself and not a copy."""
        (found,) = [item for item in self._items.values() if item["title"] == title]
        return found

    def titles(self) -> list[str]:
        """Titles of all items."""
        return sorted(item["title"] for item in self._items.values())

    def delete(self, title: str) -> None:
        """Deletes the one item of that title."""
        del self._items[self.item(title)["id"]]

    def _vault_id(self, name: str) -> str:
        (id_,) = [vault["id"] for vault in self._vaults.values() if vault["name"] == name]
        return str(id_)

    def _store(self, item: Item, vault: str) -> str:
        now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        id_ = new_id()
        self._items[id_] = {**item, "id": id_, "vault": {"id": vault}, "version": 1, "createdAt": now, "updatedAt": now}
        return id_

    async def _list_vaults(self, request: Request) -> Response:
        return self._authorized(request) or JSONResponse(_filtered(request, list(self._vaults.values()), "name"))

    async def _get_vault(self, request: Request) -> Response:
        vault = self._vaults.get(request.path_params["vault"])
        return self._authorized(request) or (_error(404, "vault not found") if vault is None else JSONResponse(vault))

    async def _list_items(self, request: Request) -> Response:
        mine = [item for item in self._items.values() if item["vault"]["id"] == request.path_params["vault"]]
        summaries = [{k: v for k, v in item.items() if k not in {"fields", "sections"}} for item in mine]
        return self._authorized(request) or JSONResponse(_filtered(request, summaries, "title"))

    async def _get_item(self, request: Request) -> Response:
        return self._authorized(request) or self._found(request) or self._hand_out(request.path_params["item"])

    async def _create_item(self, request: Request) -> Response:
        refused = self._authorized(request)
        if refused is not None:
            return refused
        item = await request.json()
        for field in item.get("fields", []):
            field["id"] = field.get("id") or new_id()
            if field.pop("generate", False):
                field["value"] = secrets.token_urlsafe(24)
        return self._hand_out(self._store(item, request.path_params["vault"]))

    async def _put_item(self, request: Request) -> Response:
        refused = self._authorized(request) or self._found(request)
        if refused is not None:
            return refused
        id_ = request.path_params["item"]
        old, new = self._items[id_], await request.json()
        kept = {key: old[key] for key in ("id", "vault", "createdAt")}
        self._items[id_] = {**new, **kept, "version": old["version"]}
        answer = self._hand_out(id_)
        self._items[id_]["version"] += 1
        return answer

    async def _delete_item(self, request: Request) -> Response:
        refused = self._authorized(request) or self._found(request)
        if refused is not None:
            return refused
        del self._items[request.path_params["item"]]
        return Response(status_code=204)

    def _authorized(self, request: Request) -> Response | None:
        if request.headers.get("authorization") == f"Bearer {self.token}":
            return None
        return _error(401, "Invalid token signature")

    def _found(self, request: Request) -> Response | None:
        item = self._items.get(request.path_params["item"])
        if item is None or item["vault"]["id"] != request.path_params["vault"]:
            return _error(404, f"item {request.path_params['item']} not found")
        return None

    def _hand_out(self, id_: str) -> Response:
        item = copy.deepcopy(self._items[id_])
        self.handed_out |= {
            field["value"] for field in item["fields"] if field["type"] == "CONCEALED" and field.get("value")
        }
        return JSONResponse(item)


def _database_url(password: str) -> str:
    return f"postgresql://invoicetron:{password}@invoicetron-db:5432/invoicetron"


def _filtered(request: Request, objects: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    asked = request.query_params.get("filter")
    if asked is None:
        return objects
    parsed = _FILTER.match(asked)
    return [one for one in objects if parsed is not None and one[name] == parsed[2]]


def _error(status: int, message: str) -> Response:
    return JSONResponse({"status": status, "message": message}, status_code=status)
