"""Of every test: property tests judge the code and not the machine, what stays is made once, the longest begin."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.scheduling import ByWorld, rank

# A slow or busy machine fails none of them.
settings.register_profile(
    "any-machine", parent=settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")


# Modules and tests are made once and stay: to look for garbage while they are made took half of the start.
gc.disable()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is there by now is not looked through again after each test."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _one_ssl_context() -> Iterator[None]:
    """httpx reads the certificates of all authorities for each client: 25 ms, for servers that speak plain HTTP."""
    import httpx  # noqa: PLC0415 - xdist's workers wait for a controller, which runs no test
    from httpx import create_ssl_context  # noqa: PLC0415 - as above

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx._transports.default, "create_ssl_context", cache(create_ssl_context))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank(item.nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByWorld | None:
    """In the place of `--dist loadfile`, which begins with the file of most tests."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return ByWorld(config, log)
