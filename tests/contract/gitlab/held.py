"""An emulator of GitLab that is held to the pages of GitLab's API."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, unquote

from pydantic import TypeAdapter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.contract.gitlab.requests import OPERATIONS, Operation


class Held:
    """An application in front of the emulator that holds every request and answer to the pages."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.seen: set[tuple[Operation, int]] = set()
        self.problems: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent, answer = bytearray(), list[Message]()
        more = True
        while more:
            message = await receive()
            sent.extend(message.get("body", b""))
            more = message.get("more_body", False)

        async def whole() -> Message:
            return {"type": "http.request", "body": bytes(sent), "more_body": False}

        async def hold(message: Message) -> None:
            answer.append(message)

        await self._app(scope, whole, hold)
        operation = operation_of(scope)
        status, answered = answer[0]["status"], b"".join(message.get("body", b"") for message in answer)
        self.seen.add((operation, status))
        try:
            check(operation, attributes(scope, bytes(sent)), status, answered)
        except (AssertionError, KeyError, ValueError) as error:
            self.problems.append(f"{operation} {status}: {error}")
        for message in answer:
            await send(message)


def operation_of(scope: Scope) -> Operation:
    """The operation of `OPERATIONS`; a path that none of them has is returned as it is."""
    path = scope["raw_path"].decode().partition("?")[0].removeprefix("/api/v4/")
    parts = path.split("/")
    for method, pattern in OPERATIONS:
        wanted = pattern.split("/")
        same = len(wanted) == len(parts) and all(w in {"*", p} for w, p in zip(wanted, parts, strict=True))
        if method == scope["method"] and same:
            return method, pattern
    return scope["method"], path


def attributes(scope: Scope, body: bytes) -> dict[str, Any]:
    """Query and JSON body, as Grape merges them."""
    given: dict[str, Any] = {}
    for name, value in parse_qsl(scope["query_string"].decode(), keep_blank_values=True):
        outer, bracket, inner = unquote(name).partition("[")
        given[outer] = {**given.get(outer, {}), inner.rstrip("]"): value} if bracket else value
    return {**given, **(json.loads(body) if body else {})}


def check(operation: Operation, given: dict[str, Any], status: int, answered: bytes) -> None:
    """Raises where the request or its answer is not what the operation's page says."""
    taken, good, shape = OPERATIONS[operation]
    if status < 400:
        taken.model_validate(given)
        assert status == good
        if shape is None:
            assert answered == b""
        else:
            TypeAdapter(shape).validate_json(answered)
        return
    assert status in {400, 401, 403, 404, 405, 409, 422}
    refused = json.loads(answered)
    # Its own words in `message`; Grape's, and those about a token, in `error`.
    described = {"error", "error_description"}
    assert refused.keys() in ({"message"}, {"error"}, described, {*described, "scope"})
