"""`python -I -S measured_process.py <file> <executable> ...`: runs a process and appends what it used to `file`.

Appends a line of JSON: CPU seconds (user and system) of the process and of the children it waited for; seconds; peak
memory in MiB. It measures from outside, because the interpreter's shutdown counts, too. It is small: a process starts
with the memory of its parent, and Linux counts that in its peak.
"""

import os
import sys
import time


def main(file: str, executable: str, *arguments: str) -> None:
    """Runs and measures the process; exits with its status."""
    started = time.monotonic()
    pid = os.posix_spawn(executable, [executable, *arguments], os.environ)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.monotonic() - started
    peak = usage.ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    with open(file, "a") as lines:  # noqa: PTH123 - importing pathlib takes longer than all of this
        lines.write(f"[{usage.ru_utime + usage.ru_stime}, {seconds}, {peak}]\n")
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


if __name__ == "__main__":
    main(*sys.argv[1:])
