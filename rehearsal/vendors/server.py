"""Serves an emulator on loopback, logs its requests, and makes it fail on demand.

An emulator is an ASGI application. `Service(app)` wraps it:

- `service.log`: every request and its status, in order; `service.writes`: those that could have changed something;
- `service.fail(fault, call=3)`: the fourth call fails; `service.fail(fault, method="PUT", path="/configurations")`: the
  next matching call fails; `times=`: more than one; `service.fail_each(fault)`: each call fails the first time;
- `service.before` and `service.after`: functions of the call, for a concurrent editor, or to look at the state. Those
  of `after` run after the call took effect and before its answer leaves, so that no other call can come in between.
  They run in another thread and may call the emulator themselves (which runs the hooks for that call, too).
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_START: Final = 10.0  # seconds
_GRACE: Final = 1.0
"""Seconds that the server, when it ends, waits for a call without an answer yet."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to a call: an error, a broken connection or, with nothing but a `delay`, a slow regular answer."""

    status: int | None = None
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    """Seconds before the fault or the answer."""
    reset: bool = False
    """The connection is reset without an answer."""
    after_effect: bool = False
    """The emulator does what it was asked before the fault happens: the answer is lost, the effect is not."""

    def __post_init__(self) -> None:
        if self.reset and self.status is not None:
            raise ValueError("a fault either answers with a status or resets the connection, not both")
        if self.status is None and not self.reset and (self.after_effect or not self.delay):
            raise ValueError("a fault needs one of: status=, reset=True, or delay= alone for a slow answer")

    @property
    def slow(self) -> bool:
        """Whether the regular answer comes, but late."""
        return self.status is None and not self.reset


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request; `path` is the raw path with its query. Headers and body are left out, so that no secret is kept."""

    number: int
    method: str
    path: str
    status: int | None = None
    """None if the connection was reset."""


@dataclass(kw_only=True)
class _Planned:
    fault: Fault
    call: int | None
    method: str | None
    path: re.Pattern[str]
    times: float
    each: bool = False
    """Only the first call of each method and path, without its query."""
    seen: set[tuple[str, str]] = field(default_factory=set)

    def takes(self, call: Call) -> bool:
        """Whether the call fails; if so, counts it."""
        if self.times <= 0 or (self.call is not None and self.call != call.number):
            return False
        if self.method not in {None, call.method} or self.path.search(call.path) is None:
            return False
        asked = (call.method, call.path.partition("?")[0])
        if self.each and asked in self.seen:
            return False
        self.seen.add(asked)
        self.times -= 1
        return True


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
        """Plans `fault` for the next `times` calls that match the number (counted from 0), method and path pattern."""
        self._planned.append(_Planned(fault=fault, call=call, method=method, path=re.compile(path), times=times))

    def fail_each(self, fault: Fault, *, method: str | None = None, path: str = "") -> None:
        """Plans `fault` once for every method and path (without its query) among the calls that match."""
        pattern = re.compile(path)
        self._planned.append(_Planned(fault=fault, call=None, method=method, path=pattern, times=math.inf, each=True))

    def forget(self) -> None:
        """Clears the log and the planned faults, and counts calls from 0 again."""
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
            await run_in_threadpool(hook, call)
        answer: list[Message] = []
        if fault is not None:
            await asyncio.sleep(fault.delay)
        if fault is None or fault.slow or fault.after_effect:
            answer = await self._asked(scope, receive, call)
        if fault is not None and not fault.slow:
            answer = [] if fault.reset else _error(fault)
        await self._done(call, answer[0]["status"] if answer else None)
        if not answer:
            _reset(send)
        for message in answer:
            await send(message)

    async def _asked(self, scope: Scope, receive: Receive, call: Call) -> list[Message]:
        """The emulator's answer, held back. An exception in the emulator is a 500 for the client, and is shown."""
        answer: list[Message] = []

        async def hold(message: Message) -> None:
            answer.append(message)

        try:
            await self._app(scope, receive, hold)
        except Exception:
            await self._done(call, 500)
            raise
        return answer

    async def _done(self, call: Call, status: int | None) -> None:
        done = replace(call, status=status)
        self.log.append(done)
        for hook in self.after:
            await run_in_threadpool(hook, done)

    def _begin(self, scope: Scope) -> tuple[Call, Fault | None]:
        query = scope["query_string"].decode()
        path = scope["raw_path"].decode() + (f"?{query}" if query else "")
        with self._lock:
            call = Call(number=self._calls, method=scope["method"], path=path)
            self._calls += 1
            planned = next((one for one in self._planned if one.takes(call)), None)
        return call, planned.fault if planned is not None else None


def _error(fault: Fault) -> list[Message]:
    headers = {"content-type": "application/json"} | {name.lower(): value for name, value in fault.headers.items()}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    return [
        {"type": "http.response.start", "status": fault.status, "headers": encoded},
        {"type": "http.response.body", "body": fault.body},
    ]


def _reset(send: Send) -> None:
    """Resets the connection. `send` belongs to uvicorn's cycle for this request, which has the transport."""
    cycle: Any = getattr(send, "__self__", None)
    # A linger time of zero makes the kernel send RST, where an ordinary close would send FIN.
    connection = cycle.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    cycle.disconnected = True
    cycle.transport.abort()


class _Server(uvicorn.Server):
    """Ends as soon as it is asked to: uvicorn itself checks ten times a second, then waits 0.1 s for its clients.

    A test has up to three servers, and there are some thousand tests.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def end(self) -> None:
        """May be called from any thread, before or after the start."""
        self.should_exit = True  # in case it is just starting
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._ending.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        while not self._ending.is_set():
            await self.on_tick(0)  # for the header Date
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), timeout=1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - our caller closes them
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        deadline = time.monotonic() + _GRACE
        while (self.server_state.connections or self.server_state.tasks) and time.monotonic() < deadline:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.005)
        for task in self.server_state.tasks:
            task.cancel()


@contextmanager
def serve(app: ASGIApp, *, certificate: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Serves `app` on a free port of 127.0.0.1 for the duration of the context; yields its base URL, without a slash.

    `certificate`: the files of a private key and a certificate of `localhost`, for HTTPS; otherwise over HTTP.
    """
    # asyncio turns Nagle's algorithm off only if the protocol is given; with it, each answer takes 40 ms.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        log_level="error",
        lifespan="off",
        # A client that reuses a kept-alive connection just as it expires sees a reset that no test asked for.
        timeout_keep_alive=3600,
        ssl_keyfile=certificate[0] if certificate else None,
        ssl_certfile=certificate[1] if certificate else None,
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True, name="emulator")
    thread.start()
    try:
        deadline = time.monotonic() + _START
        while not server.started:
            if time.monotonic() > deadline or not thread.is_alive():
                raise RuntimeError("the emulator's server did not start")
            time.sleep(0.005)
        port = listener.getsockname()[1]
        yield f"https://localhost:{port}" if certificate else f"http://127.0.0.1:{port}"
    finally:
        server.end()
        thread.join(timeout=_START)
        listener.close()
