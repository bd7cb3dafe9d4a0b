"""The whole program, run under mocks as the engine runs it, once per stack and change of settings."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from rehearsal.vendors.gitlab import GitLab
    from tests.unit.program import Program


def _run(stack: str, changes: dict[str, Any] | None = None) -> Program:
    from tests.unit.program import run  # noqa: PLC0415 - xdist's workers wait for a controller, which runs no test

    return run(stack, changes)


class _Switch:
    """Passes requests to the application of the running test."""

    def __init__(self) -> None:
        self.app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        await self.app(scope, receive, send)


@pytest.fixture(scope="session")
def dev() -> Program:
    """What stack dev registers with its stack file as it is. Tests must not change it."""
    return _run("dev")


@pytest.fixture(scope="session")
def prod() -> Program:
    """The same for prod."""
    return _run("prod")


@pytest.fixture(scope="session")
def operated() -> Program:
    """prod with its database run by CloudNativePG's operator. Tests must not change it."""
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
    """Serves an application until the test ends, and returns its URL. One server for all: each takes 0.2 s to stop."""
    switch, url = _server

    def serve_app(app: ASGIApp) -> str:
        switch.app = app
        return url

    return serve_app


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a certificate for localhost that no authority has signed, and its key."""
    from tests.rehearsal.certificates import self_signed  # noqa: PLC0415 - as above

    file = tmp_path / "certificate.pem"
    file.write_text("".join(self_signed("localhost")))
    return file


@pytest.fixture
def gitlab(served: Callable[[ASGIApp], str], monkeypatch: pytest.MonkeyPatch) -> GitLab:
    """An empty GitLab project, to which the environment leads."""
    from rehearsal.vendors.gitlab import GitLab  # noqa: PLC0415 - as above

    found = GitLab.seeded()
    monkeypatch.setenv("GITLAB_BASE_URL", f"{served(found.app)}/api/v4/")
    monkeypatch.setenv("GITLAB_TOKEN", found.token)
    return found


@pytest.fixture(autouse=True)
def _event_loop_of_its_own() -> Iterator[None]:
    """Outputs belong to the current event loop; a test that closes it would leave the next test without one."""
    loop, made = asyncio.new_event_loop(), weakref.WeakSet[asyncio.Task[Any]]()

    def make(of: asyncio.AbstractEventLoop, coroutine: Any, /, **options: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(coroutine, loop=of, **options)
        made.add(task)
        return task

    loop.set_task_factory(make)  # asyncio.all_tasks() looks at every task of every earlier test, too
    asyncio.set_event_loop(loop)
    yield
    left = [task for task in made if not task.done()]
    for task in left:  # an output that the test did not await
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left))
    loop.close()


@pytest.fixture(scope="session", autouse=True)
def _no_1password_of_this_machine() -> Iterator[None]:
    """Unsets 1Password's variables: a title that is not found is looked up in the account that they name."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OP_CONNECT_HOST", "OP_CONNECT_TOKEN", "OP_SERVICE_ACCOUNT_TOKEN", "OP_ACCOUNT"):
            patch.delenv(name, raising=False)
        yield
