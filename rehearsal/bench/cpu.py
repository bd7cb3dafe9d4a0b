"""CPU seconds of this process and of everything that it has started, read from /proc: Linux only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

CONTROL_PLANE, REST = "control plane", "engine, program and plugins"
_TICKS = os.sysconf("SC_CLK_TCK")
_MEASURED = Path(__file__).with_name("measured_process.py")
_ITS_PROCESSES = ("etcd", "server", "kube-", "kwok")


def used() -> dict[str, float]:
    """CPU seconds by group: the control plane, and everything else (engine, program, plugins).

    Children that a process has waited for count as its own; a process that ended without that is missing.
    """
    seconds = {CONTROL_PLANE: 0.0, REST: 0.0}
    for pid in _descendants(os.getpid()):
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue  # the process has ended meanwhile
        fields = rest.split()
        ticks = sum(int(field) for field in fields[11:15])  # utime, stime, cutime, cstime: proc_pid_stat(5)
        group = CONTROL_PLANE if name.startswith(_ITS_PROCESSES) else REST
        seconds[group] += ticks / _TICKS
    return seconds


def measured_process(file: Path) -> list[str]:
    """The prefix for a command whose use of CPU and memory is to be written to `file` (measured_process.py)."""
    return [sys.executable, "-I", "-S", str(_MEASURED), str(file)]


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, left = [], [root]
    while left:
        pid = left.pop()
        found.append(pid)
        left.extend(children.get(pid, []))
    return found
