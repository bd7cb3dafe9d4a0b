"""What a killed engine leaves behind for a moment: its plugins, which finish what they had begun."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from rehearsal.rehearsal import Rehearsal

PATIENCE: Final = 30.0
"""Seconds; plugins notice within one."""


def processes_in(directory: Path) -> list[str]:
    """Processes whose working directory is this one, as the engine's plugins' is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended meanwhile, or belongs to somebody else
            if (process / "cwd").readlink() == directory:
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200])
    return found


def wait_for_plugins(rehearsal: Rehearsal) -> None:
    """Returns once the plugins of the killed engine have ended."""
    deadline = time.monotonic() + PATIENCE
    while left := processes_in(rehearsal.program.directory):
        assert time.monotonic() < deadline, f"these outlive their engine: {left}"
        time.sleep(0.1)
