"""An emulator of GitLab that is checked against the pages of GitLab's API."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, unquote

from pydantic import TypeAdapter
from starlette.types import Scope

from tests.contract.gitlab.requests import OPERATIONS, Operation
from tests.contract.held import Held


class HeldGitLab(Held):
    """Checks the requests to the emulator of GitLab, and its answers."""

    @staticmethod
    def operation_of(scope: Scope) -> Operation:
        """The matching operation of `OPERATIONS`; a path that none of them has is returned unchanged."""
        return operation_of(scope)

    @staticmethod
    def check(operation: Operation, scope: Scope, sent: bytes, status: int, answered: bytes) -> None:
        """Raises if the request or its answer is not what the operation's page says."""
        check(operation, attributes(scope, sent), status, answered)


def operation_of(scope: Scope) -> Operation:
    """The matching operation of `OPERATIONS`; a path that none of them has is returned unchanged."""
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
    """Raises if the request or its answer is not what the operation's page says."""
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
    # GitLab's own text is in `message`; Grape's, and the text about a token, in `error`.
    described = {"error", "error_description"}
    assert refused.keys() in ({"message"}, {"error"}, described, {*described, "scope"})
