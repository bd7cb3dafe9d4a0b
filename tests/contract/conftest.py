"""A Cloudflare account, and the requests to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.types import ASGIApp

from lookups.cloudflare_api import CloudflareApi
from rehearsal.vendors.cloudflare import Cloudflare
from rehearsal.vendors.server import serve
from tests.contract.recorder import Recorder


@pytest.fixture
def emulator() -> Cloudflare:
    return Cloudflare()


@pytest.fixture
def recorder(emulator: Cloudflare, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    recorder = Recorder(emulator.app)
    with _served(recorder, emulator, monkeypatch):
        yield recorder


@pytest.fixture
def cloudflare(emulator: Cloudflare, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloudflare]:
    """Cloudflare, at the address that `up` asks."""
    with _served(emulator.app, emulator, monkeypatch):
        monkeypatch.setattr(CloudflareApi.__init__, "__kwdefaults__", {"pause": lambda _: None, "patience": 5.0})
        yield emulator


@contextmanager
def _served(app: ASGIApp, account: Cloudflare, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment leads to `app`, with the token of `account`."""
    with serve(app) as url:
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", f"{url}/client/v4")
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", account.token)
        yield
