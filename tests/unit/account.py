"""A 1Password account with the items of stack dev, and helpers that read secrets from it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_onepassword as onepassword
import pytest

from lookups.secrets import SecretsError, StackSecrets, read_secrets
from settings import Settings
from tests.stacks import DEV

VAULT = "aaaaaaaaaaaaaaaaaaaaaaaaaa"
# Fixed, so the same in every process: some become part of a test's id, by which pytest's workers identify it.
PASSWORD = hashlib.sha256(b"postgres-password").hexdigest()[:40]
AUTH = hashlib.sha256(b"better-auth-secret").hexdigest()
URL = f"postgresql://invoicetron:{PASSWORD}@invoicetron-db:5432/invoicetron"
TOKEN = f"gldt-{secrets.token_hex(8)}"


def section(identity: str, label: str, **fields: str) -> dict[str, Any]:
    """A section as the plugin returns it; field names are written with '_' for '-'."""
    return {
        "id": identity,
        "label": label,
        "fields": [
            {
                "id": secrets.token_hex(13),
                "label": name.replace("_", "-"),
                "purpose": "",
                "type": "CONCEALED",
                "value": value,
            }
            for name, value in fields.items()
        ],
    }


def app_item(**fields: str) -> dict[str, Any]:
    """The item of the stack dev, its fields in the unnamed section, as the 1Password apps write it."""
    return {"sections": [section("add more", "", **fields)]}


@dataclass
class OnePassword(pulumi.runtime.Mocks):
    """Answers as the plugin does: `items` by title or UUID; a list stands for several items with one title."""

    items: dict[str, Any] = field(
        default_factory=lambda: {
            "Invoicetron Dev": app_item(postgres_password=PASSWORD, better_auth_secret=AUTH, database_url=URL),
            "Invoicetron Deploy Token": {"username": "gitlab+deploy-token-1", "password": TOKEN},
        }
    )
    vaults: dict[str, int] = field(default_factory=lambda: {"Kubernetes": 1})
    asked: Counter[str] = field(default_factory=Counter)
    resources: list[str] = field(default_factory=list)
    broken: str = ""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.resources.append(args.typ)
        return args.name, args.inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        if self.broken:
            return {}, [("", self.broken)]
        key = args.args.get("name") or args.args.get("title") or args.args["uuid"]
        assert ("uuid" in args.args) == (len(key) == 26)
        self.asked[key] += 1
        if args.token.endswith("getVault"):
            return self._vault(key)
        assert args.args["vault"] == VAULT
        found = self.items.get(key, [])
        found = found if isinstance(found, list) else [found]
        if len(found) != 1:
            reason = f'Unable to read item, got error: Found {len(found)} item(s) in vault "{VAULT}" with title "{key}"'
            return {}, [("", reason)]
        item = {"uuid": f"uuid of {key}", "title": key, "category": "login", "vault": VAULT, **found[0]}
        return {"id": f"vaults/{VAULT}/items/{item['uuid']}", **item}

    def _vault(self, name: str) -> Any:
        count = 1 if name == VAULT else self.vaults.get(name, 0)
        if count == 1:
            return {"id": f"vaults/{VAULT}", "uuid": VAULT, "name": name, "description": ""}
        words = "Multiple vaults found with name" if count else "No vault found with name"
        return {}, [("", f'{words} "{name}"')]


CONFIG: dict[str, Any] = {
    "namespace": "invoicetron-dev",
    "secrets": {
        "postgresPassword": "op://Kubernetes/Invoicetron Dev/postgres-password",
        "betterAuthSecret": "op://Kubernetes/Invoicetron Dev/better-auth-secret",
        "databaseUrl": "op://Kubernetes/Invoicetron Dev/database-url",
    },
    "registry": {"server": "registry.example.com", "item": "op://Kubernetes/Invoicetron Deploy Token"},
    "app": {"image": "registry.example.com/invoicetron:placeholder"},
    "access": {"hostname": "invoicetron.example.com", "gateway": {"listener": "https-dev"}},
}


def read(account: OnePassword, *, app: Mapping[str, str] | None = None, **changes: Any) -> StackSecrets:
    """Reads the secrets of a stack whose file differs from CONFIG by `changes` to the section `secrets`.

    None removes a key. `app` is the content of `app.secrets`.
    """
    pulumi.runtime.set_mocks(account, project="invoicetron", stack="dev")
    secrets_ = {key: address for key, address in {**CONFIG["secrets"], **changes}.items() if address is not None}
    sections = {"secrets": secrets_, "app": {**CONFIG["app"], "secrets": dict(app or {})}}
    settings = Settings.load(DEV, {**CONFIG, **sections})
    return read_secrets(settings, onepassword.Provider("onepassword"))


def refusal(account: OnePassword, *, app: Mapping[str, str] | None = None, **changes: Any) -> str:
    """The message with which reading fails, checked to contain none of the account's values."""
    with pytest.raises(SecretsError) as error:
        read(account, app=app, **changes)
    message = str(error.value)
    for value in values_of(account):
        assert value.strip() not in message
    assert account.resources in ([], ["pulumi:providers:onepassword"])
    return message


def values_of(account: OnePassword) -> list[str]:
    """Every field value long enough to be recognised in a text; short ones could occur anywhere."""
    items = [item for found in account.items.values() for item in (found if isinstance(found, list) else [found])]
    fields = [one["value"] for item in items for part in item.get("sections", []) for one in part["fields"]]
    return [value for value in [*fields, *(item.get("password", "") for item in items)] if len(value.strip()) > 3]


def plain(output: pulumi.Output[str] | None) -> str:
    """The value of an output, which must be secret."""
    assert output is not None

    async def resolve() -> str:
        assert await output.is_secret()
        value = await output.future()
        assert value is not None
        return value

    return asyncio.get_event_loop().run_until_complete(resolve())


def changed(**fields: str) -> OnePassword:
    """An account whose item for the stack has these values instead."""
    account = OnePassword()
    values = {"postgres_password": PASSWORD, "better_auth_secret": AUTH, "database_url": URL} | fields
    account.items["Invoicetron Dev"] = app_item(**values)
    return account
