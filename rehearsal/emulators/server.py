"""Serves an emulator on loopback, logs what it was asked, and makes it fail on demand.

An emulator is an ASGI application. `Service(app)` wraps it:

- `service.log`: every request and its status, in order; `service.writes` those that could have changed something;
- `service.fail(fault, call=3)`: the fourth call fails; `service.fail(fault, method="PUT", path="/configurations")`: the
  next call that matches; `times=` more than once;
- `service.before` and `service.after`: functions of the call, for a concurrent editor, or to look at the state.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_START: Final = 10.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to a call instead of, or after, its proper answer."""

    status: int | None = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before anything happens."""
    reset: bool = False
    """The connection is torn down without an answer."""
    after_effect: bool = False
    """The emulator does what it was asked, and only then the fault happens: the answer is lost, the effect is not."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request; `path` is the raw path with its query, no header and no body, so that no secret is kept."""

    number: int
    method: str
    path: str
    status: int | None = None
    """None where the connection was reset."""


@dataclass(kw_only=True)
class _Planned:
    fault: Fault
    call: int | None
    method: str | None
    path: re.Pattern[str]
    times: int

    def matches(self, call: Call) -> bool:
        if self.times <= 0 or (self.call is not None and self.call != call.number):
            return False
        return (self.method is None or self.method == call.method) and self.path.search(call.path) is not None


class Service:
    """An emulator's application with its log, faults and hooks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._planned: list[_Planned] = []
        self._lock = threading.Lock()
        self._calls = 0
        self.log: list[Call] = []
        self.before: list[Callable[[Call], None]] = []
        self.after: list[Callable[[Call], None]] = []

    @property
    def writes(self) -> list[Call]:
        """The calls that were neither GET nor HEAD."""
        return [call for call in self.log if call.method not in {"GET", "HEAD"}]

    def fail(
        self, fault: Fault, *, call: int | None = None, method: str | None = None, path: str = "", times: int = 1
    ) -> None:
        """Plans `fault` for the next `times` calls that match: number (counted from 0), method, pattern in the path."""
        self._planned.append(_Planned(fault=fault, call=call, method=method, path=re.compile(path), times=times))

    def forget(self) -> None:
        """Forgets log and planned faults, and counts calls from 0 again."""
        with self._lock:
            self._planned.clear()
            self.log.clear()
            self._calls = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call, fault = self._begin(scope)
        for hook in self.before:
            hook(call)
        if fault is not None and not fault.after_effect:
            status = await self._break(fault, send)
        else:
            status = await self._answer(scope, receive, send, lost=fault)
        done = Call(number=call.number, method=call.method, path=call.path, status=status)
        self.log.append(done)
        for hook in self.after:
            hook(done)

    def _begin(self, scope: Scope) -> tuple[Call, Fault | None]:
        query = scope["query_string"].decode()
        path = scope["raw_path"].decode() + (f"?{query}" if query else "")
        with self._lock:
            call = Call(number=self._calls, method=scope["method"], path=path)
            self._calls += 1
            planned = next((one for one in self._planned if one.matches(call)), None)
            if planned is not None:
                planned.times -= 1
        return call, planned.fault if planned is not None else None

    async def _answer(self, scope: Scope, receive: Receive, send: Send, *, lost: Fault | None) -> int | None:
        status: list[int] = []

        async def observe(message: Message) -> None:
            if message["type"] == "http.response.start":
                status.append(message["status"])
            if lost is None:
                await send(message)

        await self._app(scope, receive, observe)
        if lost is not None:
            return await self._break(lost, send)
        return status[0]

    @staticmethod
    async def _break(fault: Fault, send: Send) -> int | None:
        await asyncio.sleep(fault.delay)
        if fault.reset or fault.status is None:
            _tear_down(send)
            return None
        headers = [(name.lower().encode(), value.encode()) for name, value in fault.headers.items()]
        if not any(name == b"content-type" for name, _ in headers):
            headers.append((b"content-type", b"application/json"))
        await send({"type": "http.response.start", "status": fault.status, "headers": headers})
        await send({"type": "http.response.body", "body": fault.body})
        return fault.status


def _tear_down(send: Send) -> None:
    """Resets the connection. `send` belongs to uvicorn's cycle of this request, which has the transport."""
    cycle: Any = getattr(send, "__self__", None)
    cycle.disconnected = True
    cycle.transport.abort()


@contextmanager
def serve(app: ASGIApp) -> Iterator[str]:
    """Serves `app` on a free port of 127.0.0.1 for the time of the context; gives its base URL, without a slash."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True, name="emulator")
    thread.start()
    try:
        deadline = time.monotonic() + _START
        while not server.started:
            if time.monotonic() > deadline or not thread.is_alive():
                raise RuntimeError("the emulator's server did not start")
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=_START)
        listener.close()
