"""Where tests keep their files: in memory, if the machine has the room.

Servers, control planes and backups write a lot and call `sync`, which waits for everything that any worker has written.
On disk, PostgreSQL's tests take longer and more CPU time (docs/measurements.md). A kill loses nothing either way.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

FOLDER: Final = Path("/dev/shm")  # noqa: S108 - the folder for files in memory on Linux
ROOM: Final = 4 * 2**30
"""Bytes that must be free. The whole suite holds up to 2.5 GiB at once (docs/measurements.md)."""
MEMORY_NEEDED: Final = 12 * 2**30
"""Bytes of memory that must be available: the suite's processes take up to 7 GiB beside the files (as above)."""


def in_memory(folder: Path = FOLDER) -> Path | None:
    """`folder`, if it and the machine have the room, and programs may run in it; None otherwise.

    Container runtimes make it 64 MiB large, and forbid programs in it.
    """
    try:
        about = os.statvfs(folder)
    except OSError:  # no such folder: not Linux
        return None
    is_roomy = about.f_bavail * about.f_frsize >= ROOM and available_memory() >= MEMORY_NEEDED
    runs_programs = not about.f_flag & os.ST_NOEXEC
    return folder if is_roomy and runs_programs and os.access(folder, os.W_OK) else None


def available_memory() -> int:
    """Bytes that the machine has left, or at most the limit of the container."""
    lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
    found = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text(encoding="utf-8").strip()).isdecimal():
        found.append(int(text))
    return min(found)
