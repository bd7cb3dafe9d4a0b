"""`python -I -S measured_process.py <file> <executable> ...`: runs a process and adds what it has used to `file`.

A line of JSON: CPU seconds, user and system, of the process and of what it waited for; seconds; peak memory in MiB.
From outside, as the interpreter's own end counts too. Small itself: a process begins with the memory of the one that
starts it, and Linux counts that for its peak.
"""

import os
import sys
import time


def main(file: str, executable: str, *arguments: str) -> None:
    """Ends with the status of the process."""
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
