"""1Password without an engine: a Connect server, or the `op` command with a service account or the desktop app.

Both hand out what the provider's plugin does and refuse in its words, so that `lookups.onepassword` finds the same
fields and gives the same advice. The credentials stay in the environment, out of the arguments of any process.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any, Final

import httpx

from lookups.onepassword import WELL_KNOWN, Account, Field, Item, is_uuid

_PURPOSES: Final = {"USERNAME": "username", "PASSWORD": "password", "NOTES": "note_value"}
_PATIENCE: Final = 60.0  # seconds; `op` may wait for a person to unlock the desktop app


class AccountError(Exception):
    """1Password refused; the message is its own, or the plugin's where it has none."""


def account(environment: Mapping[str, str]) -> Account:
    """The account that the variables lead to, which `providers.onepassword_problems` has found in order."""
    if "OP_CONNECT_HOST" in environment:
        return ConnectAccount(environment["OP_CONNECT_HOST"], environment["OP_CONNECT_TOKEN"])
    return CommandAccount(environment)


class ConnectAccount:
    """A Connect server."""

    def __init__(self, host: str, token: str) -> None:
        self._client = httpx.Client(base_url=host, headers={"Authorization": f"Bearer {token}"}, timeout=_PATIENCE)

    def vault(self, name: str) -> str:
        if is_uuid(name):
            return str(self._get(f"/v1/vaults/{name}")["id"])
        found = self._get("/v1/vaults", filter=f'title eq "{name}"')
        if len(found) != 1:
            raise AccountError(f'{"Multiple vaults" if found else "No vault"} found with name "{name}"')
        return str(found[0]["id"])

    def item(self, vault: str, name: str) -> Item:
        items = f"/v1/vaults/{vault}/items"
        if is_uuid(name):
            return item_of(self._get(f"{items}/{name}"))
        found = self._get(items, filter=f'title eq "{name}"')
        if len(found) != 1:
            raise AccountError(f'Found {len(found)} item(s) in vault "{vault}" with title "{name}"')
        return item_of(self._get(f"{items}/{found[0]['id']}"))

    def _get(self, path: str, **query: str) -> Any:
        answer = self._client.get(path, params=query)
        try:
            body = answer.json()
        except ValueError:
            body = {"message": "the answer is not JSON, so this is no Connect server"}
            if answer.is_success:
                raise AccountError(body["message"]) from None
        if answer.is_error:
            raise AccountError(f"status {answer.status_code}: {body.get('message', '')}")
        return body


class CommandAccount:
    """The `op` command, or whatever OP_CLI_PATH names, in an environment with its credentials."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._op = environment.get("OP_CLI_PATH") or "op"

    def vault(self, name: str) -> str:
        return str(self._run("vault", "get", name)["id"])

    def item(self, vault: str, name: str) -> Item:
        return item_of(self._run("item", "get", name, f"--vault={vault}"))

    def _run(self, *arguments: str) -> Any:
        try:
            done = subprocess.run(
                [self._op, *arguments, "--format=json"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE,
            )
        except FileNotFoundError:
            raise AccountError(f"there is no command {self._op}: install 1Password's, or set OP_CLI_PATH") from None
        if done.returncode:
            raise AccountError(done.stderr.strip())
        return json.loads(done.stdout)


def item_of(body: Mapping[str, Any]) -> Item:
    """An item as the plugin hands it out, from the JSON that Connect and `op` have in common.

    Like the plugin it drops fields that are in no section, unless 1Password itself knows them.
    """
    labels = {section["id"]: section.get("label") or "" for section in body.get("sections") or ()}
    fields: list[Field] = []
    outside: dict[str, str] = {}
    for one in body.get("fields") or ():
        label, value = one.get("label") or "", one.get("value") or ""
        section = (one.get("section") or {}).get("id", "")
        if purpose := _PURPOSES.get(one.get("purpose", "")):
            outside[purpose] = value
        elif section in labels:
            names, kind = (one.get("id") or "", label), one.get("type") or ""
            fields.append(Field(section=(section, labels[section]), names=names, type=kind, value=value))
        elif output := WELL_KNOWN.get(label.casefold()):
            outside[output] = value
    return Item(
        uuid=body["id"],
        title=body["title"],
        fields=tuple(fields),
        well_known={label: outside[output] for label, output in WELL_KNOWN.items() if output in outside},
    )
