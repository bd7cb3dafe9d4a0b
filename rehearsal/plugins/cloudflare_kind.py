"""The Cloudflare API client of the stand-in plugin, and what the plugin's resources have in common."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import httpx

from rehearsal.plugins.base import CheckFailedError, PluginError, State
from rehearsal.plugins.rest import ResourceKind, extract_inputs
from rehearsal.plugins.values import Properties, Secret

_API: Final = "https://api.cloudflare.com/client/v4"
_RETRIES: Final = 10  # the client's own, for connection errors, 408, 409, 429 and 5xx
_WORD: Final = re.compile(r"(?<!^)(?=[A-Z])")


class NotFoundError(PluginError):
    """The API answered 404."""


class Client:
    """Unwraps Cloudflare's envelope; waits and retries like the provider's client, but gives up sooner.

    That one waits up to 30 s between its attempts, three minutes in all, and has no limit for a single answer, so an
    `up` waits for ever for a server that accepts a connection and says nothing (cloudflare-go 7.7.0, requestconfig.go).
    """

    def __init__(self, config: Properties) -> None:
        token = config.get("apiToken") or os.environ.get("CLOUDFLARE_API_TOKEN")
        if not token:
            raise PluginError("must provide one of: api_token, api_key, api_user_service_key")
        base = config.get("baseUrl") or os.environ.get("CLOUDFLARE_BASE_URL") or _API
        self._client = httpx.Client(base_url=base.rstrip("/"), headers={"Authorization": f"Bearer {token}"}, timeout=60)

    def call(self, method: str, path: str, *, body: Any = None, **query: str) -> Any:
        """The `result` of a call; raises `PluginError` with Cloudflare's error."""
        problem = ""
        for attempt in range(_RETRIES + 1):
            try:
                answer = self._client.request(method, path, json=body, params=query)
            except httpx.TransportError as error:
                problem, wait = f"{type(error).__name__}", min(0.5 * 2**attempt, 8.0)
            else:
                if answer.status_code not in {408, 409, 429} and answer.status_code < 500:
                    return _result(method, path, answer)
                problem = f"{answer.status_code} {answer.text[:300]}"
                wait = float(answer.headers.get("Retry-After", min(0.5 * 2**attempt, 8.0)))
            if attempt < _RETRIES:
                time.sleep(wait)
        raise PluginError(f'{method} "{path}": {problem}')

    def pages(self, path: str, **query: str) -> list[Any]:
        """The whole list: the provider's data sources request pages until one is empty."""
        found: list[Any] = []
        page = 1
        while listed := self.call("GET", path, **query, page=str(page)):
            found += listed
            page += 1
        return found


def _result(method: str, path: str, answer: httpx.Response) -> Any:
    body = answer.json()
    if answer.status_code == 404:
        raise NotFoundError(f'{method} "{path}": 404 Not Found {body["errors"]}')
    if answer.is_error:
        raise PluginError(f'{method} "{path}": {answer.status_code} {answer.reason_phrase} {body["errors"]}')
    return body["result"]


class ClientOwner(Protocol):
    """The plugin, which configures the client."""

    @property
    def client(self) -> Client: ...


class Kind(ResourceKind):
    """An object under one path; inputs and outputs are the API's keys in camel case."""

    owner = ""
    required: tuple[str, ...] = ()
    shown_once = ""
    """The secret output that the API shows only when it creates the object; later the state's value is kept."""

    def __init__(self, plugin: ClientOwner) -> None:
        self._plugin = plugin

    def path(self, owner: str) -> str:
        """The collection's path."""
        raise NotImplementedError

    def check(self, inputs: Properties) -> Properties:
        missing = {name: f"Missing required argument {name}" for name in self.required if name not in inputs}
        if missing:
            raise CheckFailedError(missing)
        return inputs

    def create(self, inputs: Properties) -> tuple[str, Properties]:
        made = self._plugin.client.call("POST", self.path(inputs[self.owner]), body=self._body(inputs))
        return made["id"], {**self._outputs(inputs, made), **self._secret(camel(made))}

    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        parts = id_.split("/")
        owner = parts[-2] if len(parts) > 1 else {**olds, **inputs}[self.owner]
        try:
            live = self._plugin.client.call("GET", f"{self.path(owner)}/{parts[-1]}")
        except NotFoundError:
            return None
        outputs = {**camel(self._normalised(live)), self.owner: owner, **self._secret(olds)}
        # An import has no inputs yet: they become everything that a program could have given.
        given = extract_inputs(inputs, outputs) if inputs else {k: v for k, v in outputs.items() if k in self.inputs}
        return State(id=parts[-1], inputs=given, outputs=outputs)

    inputs: frozenset[str] = frozenset()

    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        changed = self._plugin.client.call("PUT", f"{self.path(inputs[self.owner])}/{id_}", body=self._body(inputs))
        return {**self._outputs(inputs, changed), **self._secret(olds)}

    def delete(self, id_: str, olds: Properties) -> None:
        self._plugin.client.call("DELETE", f"{self.path(olds[self.owner])}/{id_}")

    def _secret(self, outputs: Properties) -> Properties:
        return {self.shown_once: Secret(outputs[self.shown_once])} if outputs.get(self.shown_once) else {}

    def _body(self, inputs: Properties) -> Properties:
        return snake({name: value for name, value in inputs.items() if name != self.owner})

    def _normalised(self, live: Properties) -> Properties:
        return live

    def _outputs(self, inputs: Properties, live: Properties) -> Properties:
        return {**camel(self._normalised(live)), **inputs}


def camel(value: Properties) -> Properties:
    """An API object with its keys as Pulumi spells them."""
    return {re.sub(r"_(\w)", lambda match: match[1].upper(), key): _each(camel, item) for key, item in value.items()}


def snake(value: Properties) -> Properties:
    """A Pulumi object with its keys as the API spells them."""
    return {_WORD.sub("_", key).lower(): _each(snake, item) for key, item in value.items()}


def _each(spell: Callable[[Properties], Properties], value: Any) -> Any:
    if isinstance(value, dict):
        return spell(value)
    return [_each(spell, item) for item in value] if isinstance(value, list) else value
