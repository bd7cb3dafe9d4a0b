"""Stands in for 1Password's `op`, over an emulated account: `python -m rehearsal.vendors.op_command item get ...`.

OP_SERVICE_ACCOUNT_TOKEN is one of the emulator's tokens, REHEARSAL_OP_SERVER the emulator's address. Left out: signing
in, fields given as arguments, and every command except those that the program and the plugin run.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, NoReturn

import httpx

SERVER = "REHEARSAL_OP_SERVER"
_VERSION = "2.30.0"


class Op:
    """One run of the command."""

    def __init__(self) -> None:
        token = os.environ.get("OP_SERVICE_ACCOUNT_TOKEN", "")
        if not token:
            _fail("No accounts configured for use with 1Password CLI.")
        self._client = httpx.Client(
            base_url=os.environ[SERVER], headers={"Authorization": f"Bearer {token}"}, trust_env=False
        )

    def run(self, command: tuple[str, str], name: str, vault: str) -> Any:
        """The answer as JSON; None if there is none."""
        match command:
            case ("vault", "list"):
                return self._call("GET", "/v1/vaults")
            case ("vault", "get"):
                return self._vault(name)
        vault = self._vault(vault)["id"]
        items = f"/v1/vaults/{vault}/items"
        match command:
            case ("item", "list"):
                return self._call("GET", items)
            case ("item", "get"):
                return self._call("GET", f"{items}/{self._item(vault, name)}")
            case ("item", "create"):
                return self._call("POST", items, json=json.load(sys.stdin) | {"vault": {"id": vault}})
            case ("item", "edit"):
                uuid = self._item(vault, name)
                self._call("PUT", f"{items}/{uuid}", json=json.load(sys.stdin) | {"vault": {"id": vault}})
                return self._call("GET", f"{items}/{uuid}")
            case ("item", "delete"):
                return self._call("DELETE", f"{items}/{self._item(vault, name)}")
        return _fail(f'unknown command {" ".join(command)!r} for "op"')

    def _vault(self, name: str) -> dict[str, Any]:
        found = [one for one in self._call("GET", "/v1/vaults") if name in {one["id"], one["name"]}]
        if not found:
            _fail(f'"{name}" isn\'t a vault in this account. Specify the vault with its ID or name.')
        vault: dict[str, Any] = found[0]
        return vault

    def _item(self, vault: str, name: str) -> str:
        listed = self._call("GET", f"/v1/vaults/{vault}/items")
        found = [one["id"] for one in listed if name in {one["id"], one["title"]}]
        if not found:
            _fail(f'"{name}" isn\'t an item in the "{vault}" vault. Specify the item with its UUID, name, or domain.')
        if len(found) > 1:
            _fail(f'More than one item matches "{name}". Try again and specify the item by its ID.')
        return str(found[0])

    def _call(self, method: str, path: str, **more: Any) -> Any:
        answer = self._client.request(method, path, **more)
        if answer.is_error:
            _fail(answer.json()["message"])
        return answer.json() if answer.content else None


def _fail(words: str) -> NoReturn:
    sys.exit(f"[ERROR] 2026/01/01 00:00:00 {words}")


def main(arguments: list[str]) -> None:
    """Prints what `op` would print."""
    if arguments == ["--version"]:
        sys.stdout.write(f"{_VERSION}\n")
        return
    options = dict(one.removeprefix("--").split("=", 1) for one in arguments if one.startswith("--"))
    words = [one for one in arguments if not one.startswith("--") and one != "-"]
    answer = Op().run((words[0], words[1]), words[2] if len(words) > 2 else "", options.get("vault", ""))
    if answer is not None:
        sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
