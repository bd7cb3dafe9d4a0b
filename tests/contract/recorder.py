"""Records the requests to an emulator, bodies included."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

Recorded = tuple[str, str, dict[str, str], Any]
"""Method, path below /client/v4, query, and body of a request."""


class Recorder:
    """Records every request to the application behind it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.requests: list[Recorded] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        body = message.get("body", b"")
        while message.get("more_body"):
            message = await receive()
            body += message.get("body", b"")
        query = dict(parse_qsl(scope["query_string"].decode()))
        path = scope["path"].removeprefix("/client/v4")
        self.requests.append((scope["method"], path, query, json.loads(body) if body else None))
        sent = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def again() -> Any:
            return next(sent, {"type": "http.disconnect"})

        await self._app(scope, again, send)
