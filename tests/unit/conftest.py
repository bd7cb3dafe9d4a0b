"""The whole program, run under mocks as the engine would run it, once for each stack and change of settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from tests.unit.program import Program


def _run(stack: str, changes: dict[str, Any] | None = None) -> Program:
    from tests.unit.program import run  # noqa: PLC0415 - xdist's workers wait for a controller, which runs no test

    return run(stack, changes)


class _Switch:
    """Leads requests to the application of the test that is running."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def dev() -> Program:
    """What the stack dev registers, with its stack file as it is. Tests only look at it."""
    return _run("dev")


@pytest.fixture(scope="session")
def prod() -> Program:
    """The same of prod."""
    return _run("prod")


@pytest.fixture(scope="session")
def operated() -> Program:
    """prod with its database run by CloudNativePG's operator. Tests only look at it."""
    return _run("prod", {"database.engine": "cloudnative-pg"})


@pytest.fixture(scope="session", params=["dev", "prod"])
def program(request: pytest.FixtureRequest) -> Program:
    """Each stack in turn."""
    found: Program = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def _server() -> Iterator[tuple[_Switch, str]]:
    from rehearsal.vendors.server import serve  # noqa: PLC0415 - as above

    switch = _Switch()
    with serve(switch) as url:
        yield switch, url


@pytest.fixture
def served(_server: tuple[_Switch, str]) -> Callable[[ASGIApp], str]:
    """Serves an application until the test's end, and gives its URL. One server for all: each takes 0.2 s to end."""
    switch, url = _server

    def serve_app(app: ASGIApp) -> str:
        switch.app = app
        return url

    return serve_app


@pytest.fixture(autouse=True)
def _event_loop_of_its_own() -> Iterator[None]:
    """Outputs belong to the current event loop; a test that closed its own would leave the next one none."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()


@pytest.fixture(scope="session", autouse=True)
def _no_1password_of_this_machine() -> Iterator[None]:
    """A title that is not found is looked for in the account that the environment leads to."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OP_CONNECT_HOST", "OP_CONNECT_TOKEN", "OP_SERVICE_ACCOUNT_TOKEN", "OP_ACCOUNT"):
            patch.delenv(name, raising=False)
        yield
