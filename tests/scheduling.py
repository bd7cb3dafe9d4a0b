"""Which tests one worker takes together, and in which order: the suite is as slow as the worker that ends last."""

from __future__ import annotations

from typing import Final

from xdist.scheduler.loadscope import LoadScopeScheduling  # type: ignore[import-untyped]

TOGETHER: Final = ("tests/rehearsal/verify/",)
"""Folders whose files share a system that takes a minute to make."""

LONGEST: Final = (
    "tests/rehearsal/verify/",
    "tests/rehearsal/cloudnative_pg/test_stack.py",
    "tests/rehearsal/test_registry_item.py",
    "tests/rehearsal/test_delivery.py",
    "tests/rehearsal/test_restore.py",
    "tests/rehearsal/test_lost_database.py",
    "tests/rehearsal/test_cloudflare_faults.py",
    "tests/rehearsal/test_lifecycle.py",
    "tests/rehearsal/test_killed_engine.py",
    "tests/rehearsal/test_gitlab_faults.py",
    "tests/rehearsal/test_upgrade.py",
    "tests/rehearsal/test_image.py",
    "tests/database/test_backup.py",
    "tests/database/test_offsite_kills.py",
    "tests/database/test_restore.py",
    "tests/rehearsal/cloudnative_pg/test_move.py",
    "tests/rehearsal/test_r2.py",
    "tests/rehearsal/test_node_loss.py",
    "tests/database/test_rotation.py",
)
"""Files that take more than a minute and a half run first: otherwise one runs at the end while other workers wait."""


def scope(nodeid: str) -> str:
    """What one worker runs as a whole: a file, or a folder of `TOGETHER`."""
    return next((folder for folder in TOGETHER if nodeid.startswith(folder)), nodeid.partition("::")[0])


def rank(nodeid: str) -> int:
    """A test's position among the others; tests of equal rank stay in the order in which pytest finds them."""
    return next((place for place, one in enumerate(LONGEST) if nodeid.startswith(one)), len(LONGEST))


class ByWorld(LoadScopeScheduling):  # type: ignore[misc] # xdist has no annotations that mypy would read
    """xdist's scheduler, with these scopes."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)
