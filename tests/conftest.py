"""Of every test: property tests judge the code and not the machine, and certificates are read once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import httpx
import pytest
from httpx import create_ssl_context
from hypothesis import HealthCheck, settings

# A slow or busy machine fails none of them.
settings.register_profile(
    "any-machine", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")


@pytest.fixture(scope="session", autouse=True)
def _one_ssl_context() -> Iterator[None]:
    """httpx reads the certificates of all authorities for each client: 25 ms, for servers that speak plain HTTP."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx._transports.default, "create_ssl_context", cache(create_ssl_context))
        yield
