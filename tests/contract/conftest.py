"""A Cloudflare account, and the requests to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
    with serve(recorder) as url:
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", f"{url}/client/v4")
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", emulator.token)
        yield recorder


@pytest.fixture
def cloudflare(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloudflare]:
    """Cloudflare, at the address that `up` asks."""
    emulator = Cloudflare()
    with serve(emulator.app) as url:
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", f"{url}/client/v4")
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", emulator.token)
        monkeypatch.setattr(CloudflareApi.__init__, "__kwdefaults__", {"pause": lambda _: None, "patience": 5.0})
        yield emulator
