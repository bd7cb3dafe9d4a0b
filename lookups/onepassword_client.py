"""1Password without an engine: a Connect server, or the `op` command with a service account or the desktop app.

Both return what the provider's plugin returns and refuse with its messages, so that `lookups.onepassword` finds the
same fields and gives the same advice. The credentials stay in the environment, and written data goes through standard
input: no process has a secret as an argument.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Protocol

import httpx

from lookups.http import PluginTransport
from lookups.onepassword_item import Item, is_uuid, item_of

Body = dict[str, Any]
"""An item as JSON, in the format that Connect and `op` share."""

_PATIENCE: Final = 60.0  # seconds; `op` may wait for the user to unlock the desktop app
_PAUSES: Final = [min(0.05 * 2**attempt, 0.5) for attempt in range(10)]
"""Seconds between reads after a write: Connect returns what was written once it has synchronised (connect-sdk-go's
client)."""
_GONE: Final = {"ARCHIVED", "DELETED"}
"""States of items in the archive or the bin (Connect's OpenAPI, Item.state)."""
_NOT_JSON: Final = {"message": "the answer is not JSON, so this is not a Connect server"}
"""Replaces an error body that is not Connect's; a proxy's 404 does not mean that an item is gone."""
_CONFLICT: Final = "(409)"
"""1Password refuses one of two writes to a vault at the same time, as when an `up` writes several items
(1Password/terraform-provider-onepassword#108)."""
_NO_ITEM: Final = re.compile(r"isn't an item\b|\bitem\b.* not found", re.IGNORECASE)


class AccountError(Exception):
    """1Password refused; the message is its own, or the plugin's if it gave none."""


class UnavailableError(AccountError):
    """1Password did not answer, or is temporarily unavailable; it may still have carried out the request."""


class Client(Protocol):
    """1Password, for reading and writing. Vaults are given by UUID; every call may raise `AccountError`."""

    def vault(self, name: str) -> str:
        """UUID of the vault with that UUID or name."""

    def item(self, vault: str, name: str) -> Item:
        """The item with that UUID or title."""

    def titles(self, vault: str) -> list[str]:
        """Titles of all items."""

    def find(self, vault: str, title: str) -> list[Body]:
        """The items with exactly that title, complete, without those in the archive or the bin."""

    def get(self, vault: str, uuid: str) -> Body | None:
        """The item with that UUID; None if it is gone, even if only to the archive or the bin."""

    def create(self, vault: str, body: Body) -> Body:
        """Creates an item. After `UnavailableError` it may exist."""

    def replace(self, vault: str, body: Body) -> None:
        """Replaces the whole item that has the body's id."""

    def delete(self, vault: str, uuid: str) -> None:
        """Deletes the item for good; it is no error if the item is already gone."""


def client(environment: Mapping[str, str]) -> Client:
    """The account that the variables select; `AccountError` says what is wrong with them."""
    if problems := list(onepassword_problems(environment)):
        raise AccountError("; ".join(problems))
    if environment.get("OP_CONNECT_HOST"):
        return ConnectClient(environment["OP_CONNECT_HOST"], environment["OP_CONNECT_TOKEN"])
    return CommandClient(environment)


def onepassword_problems(environment: Mapping[str, str]) -> Iterator[str]:
    """Missing or contradictory variables of 1Password, each with its fix."""
    given = [
        name
        for name in ("OP_CONNECT_HOST", "OP_CONNECT_TOKEN", "OP_SERVICE_ACCOUNT_TOKEN", "OP_ACCOUNT")
        if environment.get(name)
    ]
    for name in given:
        # The name of a desktop app's account may contain spaces.
        if name != "OP_ACCOUNT" and is_torn(environment[name]):
            yield f"{name} contains a space, a line break or another character that no token has: export it without"
    match given:
        case ["OP_CONNECT_HOST", "OP_CONNECT_TOKEN"]:
            if not re.match(r"https?://[^/]", environment["OP_CONNECT_HOST"], re.IGNORECASE):
                yield "OP_CONNECT_HOST is not the address of a Connect server: export it with http:// or https://"
            elif environment["OP_CONNECT_HOST"].endswith("/"):
                yield "OP_CONNECT_HOST ends with a slash, which the provider doubles: export it without"
        case ["OP_SERVICE_ACCOUNT_TOKEN"] | ["OP_ACCOUNT"]:
            pass
        case []:
            yield (
                "1Password: export OP_CONNECT_HOST and OP_CONNECT_TOKEN (Connect server), or OP_SERVICE_ACCOUNT_TOKEN, "
                "or OP_ACCOUNT (the desktop app's account)"
            )
        case ["OP_CONNECT_HOST"] | ["OP_CONNECT_TOKEN"]:
            yield f"1Password: export OP_CONNECT_HOST and OP_CONNECT_TOKEN together; {given[0]} alone is set"
        case _:
            yield f"1Password: {', '.join(given)} contradict each other: keep Connect's pair or one of the other two"


def is_torn(value: str) -> bool:
    """Whether the value cannot be sent in a header: HTTP clients print such a value, the token, in their error."""
    return not (value.isascii() and value.isprintable() and " " not in value)


class ConnectClient:
    """A Connect server."""

    def __init__(self, host: str, token: str, *, pause: Callable[[float], None] = time.sleep) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=host, headers=headers, timeout=_PATIENCE, transport=PluginTransport())
        self._host = host
        self._pause = pause

    def vault(self, name: str) -> str:
        if is_uuid(name):
            return str(self._json("GET", f"/v1/vaults/{name}")["id"])
        found = self._json("GET", "/v1/vaults", params={"filter": _titled(name)})
        if len(found) != 1:
            raise AccountError(f'{"Multiple vaults" if found else "No vault"} found with name "{name}"')
        return str(found[0]["id"])

    def item(self, vault: str, name: str) -> Item:
        if is_uuid(name):
            return item_of(self._json("GET", f"{_items(vault)}/{name}"))
        found = self._json("GET", _items(vault), params={"filter": _titled(name)})
        if len(found) != 1:
            raise AccountError(f'Found {len(found)} item(s) in vault "{vault}" with title "{name}"')
        return item_of(self._json("GET", f"{_items(vault)}/{found[0]['id']}"))

    def titles(self, vault: str) -> list[str]:
        return [one["title"] for one in self._json("GET", _items(vault)) if one.get("state") not in _GONE]

    def find(self, vault: str, title: str) -> list[Body]:
        listed = self._json("GET", _items(vault), params={"filter": _titled(title)})
        found = [self.get(vault, one["id"]) for one in listed]
        return [one for one in found if one is not None]

    def get(self, vault: str, uuid: str) -> Body | None:
        answer = self._call("GET", f"{_items(vault)}/{uuid}", allowed=404)
        return None if answer.status_code == 404 else _present(self._body(answer))

    def create(self, vault: str, body: Body) -> Body:
        made: Body = self._json("POST", _items(vault), json={**body, "vault": {"id": vault}})
        self._wait(lambda: self.get(vault, made["id"]) is not None)
        return made

    def replace(self, vault: str, body: Body) -> None:
        uuid, version = body["id"], body.get("version", 0)
        self._json("PUT", f"{_items(vault)}/{uuid}", json=body)
        self._wait(lambda: (self.get(vault, uuid) or {}).get("version", 0) > version)

    def delete(self, vault: str, uuid: str) -> None:
        self._call("DELETE", f"{_items(vault)}/{uuid}", allowed=404)
        self._wait(lambda: self.get(vault, uuid) is None)

    def _wait(self, shown: Callable[[], bool]) -> None:
        """Waits until the server returns what was written: to an earlier read, the write would look undone."""
        for pause in _PAUSES:
            if shown():
                return
            self._pause(pause)

    def _json(self, method: str, path: str, **more: Any) -> Any:
        return self._body(self._call(method, path, **more))

    def _call(self, method: str, path: str, *, allowed: int | None = None, **more: Any) -> httpx.Response:
        try:
            answer = self._client.request(method, path, **more)
        except httpx.HTTPError as error:
            raise UnavailableError(f"{self._host} does not answer: {type(error).__name__} {error}".strip()) from error
        if not answer.is_success:
            body = self._body(answer)
            if answer.status_code == allowed and body is not _NOT_JSON:
                return answer
            said = body.get("message", "") if isinstance(body, dict) else ""
            temporary = answer.status_code in {409, 429} or answer.status_code >= 500
            kind = UnavailableError if temporary else AccountError
            raise kind(f"status {answer.status_code}: {said}")
        return answer

    def _body(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError:
            if answer.is_success:
                raise AccountError(_NOT_JSON["message"]) from None
            return _NOT_JSON


class CommandClient:
    """The `op` command, or whatever OP_CLI_PATH names, in an environment with its credentials."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._op = environment.get("OP_CLI_PATH") or "op"

    def vault(self, name: str) -> str:
        return str(self._json("vault", "get", name)["id"])

    def item(self, vault: str, name: str) -> Item:
        return item_of(self._json("item", "get", name, f"--vault={vault}"))

    def titles(self, vault: str) -> list[str]:
        return [one["title"] for one in self._json("item", "list", f"--vault={vault}")]

    def find(self, vault: str, title: str) -> list[Body]:
        # `op item get <title>` would also treat the title as a UUID, and refuses if there are several.
        listed = [one["id"] for one in self._json("item", "list", f"--vault={vault}") if one["title"] == title]
        found = [self.get(vault, uuid) for uuid in listed]
        return [one for one in found if one is not None]

    def get(self, vault: str, uuid: str) -> Body | None:
        try:
            return _present(self._json("item", "get", uuid, f"--vault={vault}"))
        except AccountError as error:
            if _NO_ITEM.search(str(error)):
                return None
            raise

    def create(self, vault: str, body: Body) -> Body:
        made: Body = self._json("item", "create", f"--vault={vault}", "-", stdin=json.dumps(body))
        return made

    def replace(self, vault: str, body: Body) -> None:
        self._json("item", "edit", body["id"], f"--vault={vault}", stdin=json.dumps(body))

    def delete(self, vault: str, uuid: str) -> None:
        try:
            self._run("item", "delete", uuid, f"--vault={vault}")
        except AccountError as error:
            if not _NO_ITEM.search(str(error)):
                raise

    def _json(self, *arguments: str, stdin: str = "") -> Any:
        try:
            return json.loads(self._run(*arguments, "--format=json", stdin=stdin))
        except ValueError:  # without its text, which may contain a part of an item
            raise AccountError(f"{self._op} {' '.join(arguments[:2])} answers with no JSON") from None

    def _run(self, *arguments: str, stdin: str = "") -> str:
        try:
            done = subprocess.run(
                [self._op, *arguments],
                env=self._environment,
                input=stdin,
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE,
            )
        except FileNotFoundError:
            raise AccountError(f"there is no command {self._op}: install 1Password's, or set OP_CLI_PATH") from None
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"{self._op} {' '.join(arguments[:2])} took more than {_PATIENCE:g} s") from None
        if done.returncode:
            words = done.stderr.strip()
            raise UnavailableError(words) if _CONFLICT in words else AccountError(words)
        return done.stdout


def _items(vault: str) -> str:
    return f"/v1/vaults/{vault}/items"


def _titled(name: str) -> str:
    return f'title eq "{name}"'


def _present(body: Body) -> Body | None:
    return None if body.get("state") in _GONE else body
