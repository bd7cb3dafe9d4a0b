"""The pods' shell on this machine: BusyBox, as in the image, if the machine has it; otherwise its own sh."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

# The applets of Alpine's BusyBox 1.37 that the scripts use. Debian's build lacks flock; util-linux has the same one.
_APPLETS = (
    *("awk", "cat", "date", "df", "du", "find", "flock", "grep", "head", "mkdir", "mv", "rm", "sed", "seq", "sh"),
    *("sha256sum", "sleep", "sort", "stat", "sync", "tail", "timeout", "touch", "tr", "wc"),
)


def link_applets(directory: Path) -> None:
    """Links BusyBox's applets into a folder that comes first on PATH."""
    busybox = shutil.which("busybox")
    if busybox is not None:
        has = subprocess.run([busybox, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        for applet in set(_APPLETS) & set(has):
            (directory / applet).symlink_to(busybox)
