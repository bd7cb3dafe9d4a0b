"""Stand-in for the onepassword plugin (pulumi-onepassword 1.2.1, terraform-provider-onepassword 2.2.1), over Connect.

CheckConfig records the credentials from the environment; refreshes and deletes then use these, whatever the environment
says by that time. Left out: password recipes, which the stand-in refuses with an error; what the provider does with
fields of the type DATE; the files of items.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx

from rehearsal.plugins.base import CheckFailedError, PluginError, State, serve
from rehearsal.plugins.onepassword_command import Command
from rehearsal.plugins.rest import ResourceKind, RestPlugin, extract_inputs
from rehearsal.plugins.values import Properties, Secret, Unknown, plain

_ID: Final = re.compile(r"^[a-z0-9]{26}$")
_PAUSES: Final = [min(0.05 * 2**attempt, 0.5) for attempt in range(10)]  # seconds between the client's polls

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
"""Labels, case-sensitive, of the fields outside any section that the provider returns; it silently drops others."""

_BUILT_IN: Final = {
    "login": ("username", "password", "noteValue"),
    "password": ("password", "noteValue"),
    "database": ("username", "password", "hostname", "database", "port", "type", "noteValue"),
    "secure_note": ("noteValue",),
}
"""For each category, the properties that are fields of such an item."""

_FROM_ENVIRONMENT: Final = {
    "url": "OP_CONNECT_HOST",
    "token": "OP_CONNECT_TOKEN",
    "serviceAccountToken": "OP_SERVICE_ACCOUNT_TOKEN",
    "account": "OP_ACCOUNT",
    "opCliPath": "OP_CLI_PATH",
}
"""The provider's inputs that the plugin fills in from its own environment, and so records (docs/measurements.md)."""

_INPUTS: Final = ("vault", "category", "title", "url", "tags", "sections", *_BUILT_IN["database"])
_SENSITIVE: Final = {"password", "noteValue"}


class Connect:
    """The few calls to a Connect server that the provider's client makes, with that client's error messages."""

    def __init__(self, url: str, token: str) -> None:
        # Like the client, without a timeout for answers, and with URL and path joined as they are.
        self._url = url
        # Go does not send requests for loopback to the environment's proxies; httpx does.
        self._client = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=None, trust_env=False)  # noqa: S113 - as above

    def vaults(self, name: str) -> list[dict[str, Any]]:
        """The vaults of that name."""
        found: list[dict[str, Any]] = self._call("GET", "/v1/vaults", params={"filter": f'title eq "{name}"'})
        return found

    def vault(self, id_: str) -> dict[str, Any]:
        """The vault of that id."""
        vault: dict[str, Any] = self._call("GET", f"/v1/vaults/{id_}")
        return vault

    def item(self, vault: str, reference: str) -> dict[str, Any]:
        """The one item with that id or, if `reference` does not look like an id, with that title."""
        if _ID.match(reference):
            item: dict[str, Any] = self._call("GET", f"/v1/vaults/{vault}/items/{reference}")
            return item
        query = {"filter": f'title eq "{reference}"'}
        summaries = self._call("GET", f"/v1/vaults/{vault}/items", params=query)
        # All of them are fetched before they are counted.
        found = [self.item(one["vault"]["id"], one["id"]) for one in summaries]
        if len(found) != 1:
            raise PluginError(f'Found {len(found)} item(s) in vault "{vault}" with title "{reference}"')
        return found[0]

    def create(self, vault: str, item: Mapping[str, Any]) -> dict[str, Any]:
        """Creates an item, and waits briefly until the server shows it."""
        made: dict[str, Any] = self._call("POST", f"/v1/vaults/{vault}/items", json=item)
        with contextlib.suppress(PluginError):
            self._wait_for(made, 1, missing_at_first=True)
        return made

    def update(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Replaces the whole item, and waits until the server shows its next version."""
        made: dict[str, Any] = self._call("PUT", f"/v1/vaults/{item['vault']['id']}/items/{item['id']}", json=item)
        self._wait_for(made, made["version"] + 1)
        return made

    def delete(self, vault: str, id_: str) -> None:
        """Deletes an item for good."""
        self._call("DELETE", f"/v1/vaults/{vault}/items/{id_}")
        with contextlib.suppress(PluginError):
            for pause in _PAUSES:
                self._call("GET", f"/v1/vaults/{vault}/items/{id_}")
                time.sleep(pause)

    def _wait_for(self, item: Mapping[str, Any], version: int, *, missing_at_first: bool = False) -> None:
        for pause in _PAUSES:
            try:
                shown = self._call("GET", f"/v1/vaults/{item['vault']['id']}/items/{item['id']}")
            except PluginError as error:
                if not missing_at_first or "status 404" not in str(error):
                    raise
            else:
                if shown["version"] == version:
                    return
            time.sleep(pause)
        raise PluginError(
            f"max retry attempts ({len(_PAUSES)}) reached waiting for Connect sync service to propagate changes to "
            "local database"
        )

    def _call(self, method: str, path: str, **more: Any) -> Any:
        try:
            answer = self._client.request(method, self._url + path, **more)
            body = answer.json() if answer.content else None
        except httpx.HTTPError as error:
            raise PluginError(f"{method} {self._url}{path}: {error}") from error
        except ValueError as error:
            raise PluginError(f"decoding error response: {error}") from error
        if answer.is_error:
            raise PluginError(f"status {answer.status_code}: {(body or {}).get('message', '')}")
        return body


class ItemKind(ResourceKind):
    """`onepassword.Item`."""

    replace_on = frozenset({"vault", "category"})
    computed = frozenset({"uuid", "password"})

    def __init__(self, connect: Callable[[], Connect | Command]) -> None:
        self._connect = connect

    def check(self, inputs: Properties) -> Properties:
        failures = dict.fromkeys(inputs.keys() - {*_INPUTS, "passwordRecipe"}, "not a property of an item")
        if "passwordRecipe" in inputs:
            failures["passwordRecipe"] = "this stand-in does not support password recipes"
        if "vault" not in inputs:
            failures["vault"] = "Missing required property 'vault'"
        category = plain(inputs.get("category", "login"))
        if not isinstance(category, Unknown) and str(category).lower() not in _BUILT_IN:
            failures["category"] = f"value must be one of: {sorted(_BUILT_IN)}, got: {category}"
        if failures:
            raise CheckFailedError(failures)
        return inputs

    def create(self, inputs: Properties) -> tuple[str, Properties]:
        item = _body(inputs, {})
        made = _in_words("1Password Item create error: Error creating 1Password item, got error", item, self._create)
        return f"vaults/{made['vault']['id']}/items/{made['id']}", _outputs(made, inputs)

    def read(self, id_: str, inputs: Properties, olds: Properties) -> State:
        vault, item_id = _parts(id_)
        # A missing item is an error, too: this version of the provider does not drop the resource from the state.
        words = f"1Password Item read error: Could not get item '{item_id}' from vault '{vault}', got error"
        item = _in_words(words, item_id, lambda one: self._connect().item(vault, one))
        outputs = _outputs(item, olds or inputs)
        found = {name: outputs[name] for name in _INPUTS if outputs.get(name)}
        return State(id=id_, outputs=outputs, inputs=extract_inputs(inputs, outputs) if inputs else found)

    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        vault, item_id = _parts(id_)
        words = f"1Password Item update error: Could not update item '{item_id}' from vault '{vault}', got error"
        # A generated password is kept: inputs without a password get the one in the state.
        item = {"id": item_id, **_body({"password": olds.get("password"), **inputs}, olds)}
        return _outputs(_in_words(words, item, lambda one: self._connect().update(one)), inputs)

    def delete(self, id_: str, olds: Properties) -> None:  # noqa: ARG002 - the base class's signature
        vault, item_id = _parts(id_)
        words = f"1Password Item delete error: Could not delete item '{item_id}' from vault '{vault}', got error"
        _in_words(words, item_id, lambda one: self._connect().delete(vault, one))

    def _create(self, item: Mapping[str, Any]) -> dict[str, Any]:
        return self._connect().create(item["vault"]["id"], item)


class OnePasswordPlugin(RestPlugin):
    """The provider."""

    version = "1.2.1"

    def __init__(self) -> None:
        self._client: Connect | Command | None = None
        self.kinds = {"onepassword:index/item:Item": ItemKind(self.connect)}
        self.functions = {
            "onepassword:index/getVault:getVault": self._get_vault,
            "onepassword:index/getItem:getItem": self._get_item,
        }

    def check_config(self, news: Properties) -> Properties:
        found = {name: os.environ[variable] for name, variable in _FROM_ENVIRONMENT.items() if os.environ.get(variable)}
        return {name: Secret(value) if "oken" in name else value for name, value in found.items()} | news

    def configure(self, config: Properties) -> None:
        url, token, service, person, op = (
            str(config.get(name) or os.environ.get(variable) or "") for name, variable in _FROM_ENVIRONMENT.items()
        )
        if (account := service or person) and (url or token):
            raise PluginError(
                'Config conflict: Either Connect credentials ("token" and "url") or 1Password CLI '
                '("service_account_token" or "account") credentials can be set. Both are set. Please unset one of them.'
            )
        if account:
            self._client = Command(op or "op", service=service, account=person)
            return
        if not url or not token:
            raise PluginError(
                'Invalid provider configuration. Either Connect credentials ("token" and "url") or Service Account '
                '("service_account_token" or "account") credentials should be set.'
            )
        self._client = Connect(url, token)

    def connect(self) -> Connect | Command:
        """The client that `configure` made."""
        if self._client is None:
            raise PluginError("the provider is not configured")
        return self._client

    def _get_vault(self, args: Properties) -> Properties:
        _exactly_one(args, "name", "uuid")
        words = "Client Error: Unable to read vault, got error"
        id_ = args.get("uuid")
        if not id_:
            found = _in_words(words, args["name"], self.connect().vaults)
            if len(found) != 1:
                problem = "No vault" if not found else "Multiple vaults"
                raise PluginError(f"Client Error: {problem} found with name '\"{args['name']}\"'")
            id_ = found[0]["id"]
        vault = _in_words(words, id_, self.connect().vault)
        return {
            "id": f"vaults/{vault['id']}",
            "uuid": vault["id"],
            "name": vault["name"],
            "description": vault.get("description", ""),
        }

    def _get_item(self, args: Properties) -> Properties:
        _exactly_one(args, "title", "uuid")
        words = "Client Error: Unable to read item, got error"
        item = _in_words(words, args.get("title") or args["uuid"], lambda one: self.connect().item(args["vault"], one))
        credential = [field.get("value", "") for field in item["fields"] if field["id"] == "credential"]
        return {
            "id": f"vaults/{item['vault']['id']}/items/{item['id']}",
            "uuid": item["id"],
            "vault": item["vault"]["id"],
            "title": item["title"],
            "category": item["category"].lower(),
            "url": _primary_url(item),
            "sections": [{**section, "files": []} for section in _sections(item)],
            "tags": item.get("tags", []),
            "files": [],
            "credential": credential[0] if credential and item["category"] == "API_CREDENTIAL" else None,
            **_top_level(item),
        }


def _exactly_one(args: Properties, *names: str) -> None:
    if len([name for name in names if args.get(name)]) != 1:
        raise PluginError(f"Invalid Attribute Combination: exactly one of {', '.join(names)} must be set")


def _in_words(words: str, argument: Any, call: Callable[[Any], Any]) -> Any:
    """The call's answer; its errors are prefixed with `words`, the provider's own."""
    try:
        return call(argument)
    except PluginError as error:
        raise PluginError(f"{words}: {error}") from error


def _parts(id_: str) -> tuple[str, str]:
    parts = id_.split("/")
    return (parts[1], parts[3]) if len(parts) == 4 else ("", "")


def _primary_url(item: Mapping[str, Any]) -> str | None:
    return next((url["href"] for url in item.get("urls", []) if url.get("primary") and url.get("href")), None)


def _top_level(item: Mapping[str, Any]) -> Properties:
    """The fields that the provider returns outside the sections."""
    fields: Properties = {}
    for field in item["fields"]:
        purpose = _PURPOSES.get(field.get("purpose", ""))
        label = None if field.get("section") else _TOP_LEVEL.get(field.get("label", ""))
        name = purpose or label
        if name is not None:
            fields[name] = field.get("value", "")
    return fields


def _sections(item: Mapping[str, Any]) -> list[Properties]:
    """The sections that the item lists, with their fields."""
    return [
        {
            "id": section["id"],
            "label": section.get("label", ""),
            "fields": [
                {name: field.get(name, "") for name in ("id", "label", "purpose", "type", "value")}
                for field in item["fields"]
                if (field.get("section") or {}).get("id") == section["id"]
            ],
        }
        for section in item.get("sections", [])
    ]


def _body(inputs: Properties, olds: Properties) -> dict[str, Any]:
    """The whole item as the provider sends it; sections keep the ids that they have in the state."""
    ids = {section["label"]: section["id"] for section in olds.get("sections", []) if section.get("id")}
    sections = [
        {"id": ids.get(section["label"]) or str(uuid.uuid4()), "label": section["label"]}
        for section in inputs.get("sections", [])
    ]
    category = inputs.get("category", "login").lower()
    own = [
        {
            "id": field.get("id", ""),
            "label": field["label"],
            "type": field.get("type", "STRING"),
            "value": field.get("value", ""),
            "section": known,
            **({"purpose": field["purpose"]} if field.get("purpose") else {}),
        }
        for section, known in zip(inputs.get("sections", []), sections, strict=True)
        for field in section.get("fields", [])
    ]
    return {
        "title": inputs.get("title", ""),
        "vault": {"id": inputs["vault"]},
        "category": category.upper(),
        "urls": [{"primary": True, "href": inputs.get("url", "")}],
        "sections": sections,
        "fields": [*(_built_in(name, inputs, category) for name in _BUILT_IN[category]), *own],
        **({"tags": inputs["tags"]} if inputs.get("tags") else {}),
    }


def _built_in(name: str, inputs: Properties, category: str) -> dict[str, Any]:
    label = {"noteValue": "notesPlain"}.get(name, name)
    value = inputs.get(name) or ""
    field = {
        "id": "database_type" if name == "type" else label,
        "label": label,
        "type": "CONCEALED" if name == "password" else "STRING",
        "value": value,
    }
    purpose = {given: purpose for purpose, given in _PURPOSES.items()}.get(name)
    if purpose and (category != "database" or name == "noteValue"):
        field["purpose"] = purpose
    # An empty password asks 1Password to generate one.
    return {**field, "generate": True} if name == "password" and not value else field


def _outputs(item: Mapping[str, Any], known: Properties) -> Properties:
    """The item's state, without empty values. As with the real plugin, values in sections are not secret."""
    outputs = {
        "uuid": item["id"],
        "vault": item["vault"]["id"],
        "title": item["title"],
        "category": item["category"].lower(),
        "url": _primary_url(item),
        "tags": item.get("tags") or known.get("tags"),
        "sections": _ordered(_sections(item), known.get("sections", [])),
        **{name: value for name, value in _top_level(item).items() if name in _INPUTS},
    }
    return {
        name: Secret(value) if name in _SENSITIVE else value
        for name, value in outputs.items()
        if value not in ("", None)
    }


def _ordered(sections: list[Properties], known: list[Properties]) -> list[Properties]:
    """The sections, first those that the program gave, in its order."""
    order = [section["label"] for section in known]
    return sorted(sections, key=lambda one: order.index(one["label"]) if one["label"] in order else len(order))


if __name__ == "__main__":
    serve(OnePasswordPlugin())
