"""A Cloudflare account, and the requests to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
