"""Stand-in for the onepassword plugin (pulumi-onepassword 1.2.1), over a Connect server.

Left out, and refused in words: the service-account mode, which needs the `op` command.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from rehearsal.plugins.base import CheckFailedError, PluginError, State, serve
from rehearsal.plugins.rest import ResourceKind, RestPlugin
from rehearsal.plugins.values import Properties, Secret, plain

_ID: Final = re.compile(r"^[a-z0-9]{26}$")
_PURPOSES: Final = {"USERNAME": "username", "PASSWORD": "password", "NOTES": "noteValue"}
_TOP_LEVEL: Final = {
    "username": "username",
    "password": "password",
    "hostname": "hostname",
    "server": "hostname",
    "database": "database",
    "port": "port",
    "type": "type",
    "public key": "publicKey",
    "private key": "privateKey",
}
"""Labels of fields outside any section that the provider hands out; it drops every other one in silence."""

_CATEGORIES: Final = {"login": "LOGIN", "password": "PASSWORD", "database": "DATABASE", "secure_note": "SECURE_NOTE"}


class Connect:
    """The few calls of a Connect server that the provider makes."""

    def __init__(self, url: str, token: str) -> None:
        self._client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=30)

    def vault(self, name: str) -> dict[str, Any]:
        """The one vault of that name."""
        found = self._get("/v1/vaults", filter=f'name eq "{name}"')
        if len(found) != 1:
            problem = "No vault found with name" if not found else "Multiple vaults found with name"
            raise PluginError(f"Client Error: Unable to read vault, got error: {problem} {name!r}")
        vault: dict[str, Any] = self._get(f"/v1/vaults/{found[0]['id']}")
        return vault

    def item(self, vault: str, reference: str) -> dict[str, Any]:
        """The one item of that id, or of that title."""
        if not _ID.match(reference):
            found = self._get(f"/v1/vaults/{vault}/items", filter=f'title eq "{reference}"')
            if len(found) != 1:
                raise PluginError(
                    f"Client Error: Unable to read item, got error: Found {len(found)} item(s) in vault "
                    f'"{vault}" with title "{reference}"'
                )
            reference = found[0]["id"]
        item: dict[str, Any] = self._get(f"/v1/vaults/{vault}/items/{reference}")
        return item

    def create(self, vault: str, item: Mapping[str, Any]) -> dict[str, Any]:
        """Makes an item."""
        made: dict[str, Any] = self._call("POST", f"/v1/vaults/{vault}/items", json=item)
        return made

    def update(self, vault: str, id_: str, item: Mapping[str, Any]) -> None:
        """Replaces an item as a whole, and waits until the server shows it."""
        version = self._call("PUT", f"/v1/vaults/{vault}/items/{id_}", json=item)["version"]
        for _ in range(10):
            if self._get(f"/v1/vaults/{vault}/items/{id_}")["version"] == version + 1:
                return
            time.sleep(0.05)
        raise PluginError("Client Error: item was not updated in time")

    def delete(self, vault: str, id_: str) -> None:
        """Deletes an item for good."""
        self._call("DELETE", f"/v1/vaults/{vault}/items/{id_}")

    def _get(self, path: str, **query: str) -> Any:
        return self._call("GET", path, params=query)

    def _call(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = self._client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise PluginError(f"Client Error: {method} {path}: {error}") from error
        if answer.is_error:
            raise PluginError(f"Client Error: status {answer.status_code}: {answer.json().get('message', '')}")
        return answer.json() if answer.content else None


class ItemKind(ResourceKind):
    """`onepassword.Item`."""

    replace_on = frozenset({"vault", "category"})
    computed = frozenset({"uuid"})

    def __init__(self, connect: Callable[[], Connect]) -> None:
        self._connect = connect

    def check(self, inputs: Properties) -> Properties:
        category = plain(inputs.get("category", "login"))
        if category not in _CATEGORIES:
            raise CheckFailedError({"category": f"expected one of {sorted(_CATEGORIES)}, got {category}"})
        if "vault" not in inputs:
            raise CheckFailedError({"vault": "Missing required property 'vault'"})
        return {"category": "login", **inputs}

    def create(self, inputs: Properties) -> tuple[str, Properties]:
        made = self._connect().create(inputs["vault"], _body(inputs))
        return f"vaults/{made['vault']['id']}/items/{made['id']}", _outputs(inputs, made)

    def read(self, id_: str, inputs: Properties, olds: Properties) -> State:
        vault, uuid = _parts(id_)
        # Gone is an error too: this version of the provider does not drop the resource from the state.
        item = self._connect().item(vault, uuid)
        fields = _top_level(item)
        live = {"vault": vault, "title": item["title"], "category": item["category"].lower(), **fields}
        shape = inputs or olds or live
        known = {key: live.get(key, value) for key, value in shape.items() if key in {*live, "sections", "tags"}}
        return State(id=id_, inputs=known, outputs=_outputs(known, item))

    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        vault, uuid = _parts(id_)
        self._connect().update(vault, uuid, {"id": uuid, **_body(inputs)})
        return _outputs({**olds, **inputs}, self._connect().item(vault, uuid))

    def delete(self, id_: str, olds: Properties) -> None:  # noqa: ARG002 - the base class's signature
        vault, uuid = _parts(id_)
        self._connect().delete(vault, uuid)


class OnePasswordPlugin(RestPlugin):
    """The provider."""

    version = "1.2.1"

    def __init__(self) -> None:
        self._config: Properties = {}
        self.kinds = {"onepassword:index/item:Item": ItemKind(self.connect)}
        self.functions = {
            "onepassword:index/getVault:getVault": self._get_vault,
            "onepassword:index/getItem:getItem": self._get_item,
        }

    def configure(self, config: Properties) -> None:
        self._config = config

    def connect(self) -> Connect:
        """The Connect server of the configuration, or else of the environment."""
        url = self._config.get("url") or os.environ.get("OP_CONNECT_HOST")
        token = self._config.get("token") or os.environ.get("OP_CONNECT_TOKEN")
        account = self._config.get("serviceAccountToken") or os.environ.get("OP_SERVICE_ACCOUNT_TOKEN")
        account = account or self._config.get("account") or os.environ.get("OP_ACCOUNT")
        if account and (url or token):
            raise PluginError("Config conflict: Connect credentials and a service account or account are both set")
        if account:
            raise PluginError("this stand-in has no `op` command: set OP_CONNECT_HOST and OP_CONNECT_TOKEN instead")
        if not url or not token:
            raise PluginError("Invalid provider configuration: set url and token, service_account_token, or account")
        return Connect(url.rstrip("/"), token)

    def _get_vault(self, args: Properties) -> Properties:
        connect = self.connect()
        name = args.get("name") or ""
        vault = connect.vault(name)
        return {
            "id": f"vaults/{vault['id']}",
            "uuid": vault["id"],
            "name": vault["name"],
            "description": vault.get("description", ""),
        }

    def _get_item(self, args: Properties) -> Properties:
        if ("title" in args) == ("uuid" in args):
            raise PluginError("exactly one of title, uuid must be specified")
        item = self.connect().item(args["vault"], args.get("uuid") or args["title"])
        sections = [
            {
                "id": section["id"],
                "label": section.get("label", ""),
                "files": [],
                "fields": [
                    {
                        "id": field["id"],
                        "label": field.get("label", ""),
                        "purpose": field.get("purpose", ""),
                        "type": field["type"],
                        "value": field.get("value", ""),
                    }
                    for field in item["fields"]
                    if field.get("section", {}).get("id") == section["id"]
                ],
            }
            for section in item.get("sections", [])
        ]
        return {
            "id": f"vaults/{item['vault']['id']}/items/{item['id']}",
            "uuid": item["id"],
            "vault": item["vault"]["id"],
            "title": item["title"],
            "category": item["category"].lower(),
            "sections": sections,
            "tags": item.get("tags", []),
            "files": [],
            **_top_level(item),
        }


def _top_level(item: Mapping[str, Any]) -> Properties:
    """The fields that the provider hands out beside the sections."""
    fields: Properties = {}
    for field in item["fields"]:
        purpose = _PURPOSES.get(field.get("purpose", ""))
        label = None if field.get("section") else _TOP_LEVEL.get(field.get("label", "").lower())
        name = purpose or label
        if name is not None:
            fields[name] = field.get("value", "")
    return fields


def _body(inputs: Properties) -> dict[str, Any]:
    password = inputs.get("password") or ""
    builtin = [
        {
            "id": "username",
            "label": "username",
            "purpose": "USERNAME",
            "type": "STRING",
            "value": inputs.get("username", ""),
        },
        {"id": "password", "label": "password", "purpose": "PASSWORD", "type": "CONCEALED", "value": password}
        # What was not given is generated, as the real one does.
        | ({} if password else {"generate": True}),
        {
            "id": "notesPlain",
            "label": "notesPlain",
            "purpose": "NOTES",
            "type": "STRING",
            "value": inputs.get("noteValue", ""),
        },
    ]
    sections = [{"id": section["label"], "label": section["label"]} for section in inputs.get("sections", [])]
    own = [
        {
            "label": field["label"],
            "type": field.get("type", "STRING"),
            "value": field.get("value", ""),
            "section": {"id": section["label"]},
        }
        for section in inputs.get("sections", [])
        for field in section.get("fields", [])
    ]
    return {
        "title": inputs["title"],
        "vault": {"id": inputs["vault"]},
        "category": _CATEGORIES[inputs["category"]],
        "sections": sections,
        "fields": [*builtin, *own],
        **({"tags": inputs["tags"]} if inputs.get("tags") else {}),
    }


def _outputs(inputs: Properties, item: Mapping[str, Any]) -> Properties:
    fields = _top_level(item)
    return {
        **inputs,
        "uuid": item["id"],
        "username": fields.get("username", ""),
        "password": Secret(fields.get("password", "")),
    }


def _parts(id_: str) -> tuple[str, str]:
    _, vault, _, item = id_.split("/")
    return vault, item


if __name__ == "__main__":
    serve(OnePasswordPlugin())
