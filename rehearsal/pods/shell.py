"""The pods' shell on this machine: BusyBox where it has it, as the image does, else its own sh."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

# What the scripts use of BusyBox 1.37 in alpine. Debian's build lacks flock; util-linux has the same.
_APPLETS = (
    *("awk", "cat", "date", "df", "du", "find", "flock", "grep", "head", "mkdir", "mv", "rm", "sed", "seq", "sh"),
    *("sha256sum", "sleep", "sort", "stat", "sync", "tail", "touch", "tr", "wc"),
)


def link_applets(directory: Path) -> None:
    """Puts BusyBox's programs into a folder that is to come first on PATH."""
    busybox = shutil.which("busybox")
    if busybox is not None:
        has = subprocess.run([busybox, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
        for applet in set(_APPLETS) & set(has):
            (directory / applet).symlink_to(busybox)
