"""For every test: property tests judge the code, not the machine; what lasts is made once; the longest run first."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.kills import EVERY
from tests.scheduling import ByWorld, rank
from tests.scratch import in_memory

# A slow or busy machine makes no property test fail, nor does chance: each run has the same examples, but for a search.
settings.register_profile(
    "any-machine",
    parent=settings.default,
    deadline=None,
    derandomize=not EVERY,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any-machine")


# Modules and tests are made once and stay; collecting garbage meanwhile took half of the start.
gc.disable()


def pytest_configure(config: pytest.Config) -> None:
    """Creates the folder for all files of this run, unless TMPDIR names one, as xdist's workers inherit it."""
    if "TMPDIR" in os.environ or (memory := in_memory()) is None:
        return
    folder = Path(tempfile.mkdtemp(prefix="tests-", dir=memory))
    folder.chmod(0o755)  # started by root, PostgreSQL runs as another user
    config.add_cleanup(partial(shutil.rmtree, folder, ignore_errors=True))
    os.environ["TMPDIR"], tempfile.tempdir = str(folder), None


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Later collections skip what exists by now."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _one_ssl_context() -> Iterator[None]:
    """For each client, httpx reads all CA certificates, which takes 25 ms, though the servers speak plain HTTP."""
    import httpx  # noqa: PLC0415 - xdist's workers wait for a controller, which runs no test
    from httpx import create_ssl_context  # noqa: PLC0415 - as above

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx._transports.default, "create_ssl_context", cache(create_ssl_context))
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank(item.nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByWorld | None:
    """Replaces `--dist loadfile`, which begins with the file that has the most tests."""
    if config.getoption("dist") != "loadfile":
        return None
    config.option.loadscopereorder = False
    return ByWorld(config, log)
