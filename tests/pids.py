"""Whether a process still runs, for tests of processes that must not outlive the rehearsal."""

from __future__ import annotations

import os
from pathlib import Path


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if not Path("/proc/self/stat").exists():
        return True
    # It may not have been reaped yet: in a container without an init, nobody reaps our orphans.
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False  # it ended while we looked
