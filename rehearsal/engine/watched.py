"""`python -I -S watched.py <executable> ...`: runs a plugin, and ends it once its engine is gone.

The real language host checks for its engine every five minutes, so it outlives a killed one by up to that long.
"""

import os
import select
import signal
import stat
import sys
import time

PULSE = 0.5
"""Seconds between two checks that the engine still runs."""
PATIENCE = 5.0
"""Seconds that the plugin has to end by itself; an engine allows as many."""


class _EndedError(Exception):
    pass


def _ended(*_: object) -> None:
    raise _EndedError


def main(executable: str, *arguments: str) -> None:
    """Runs the executable to its end, and exits with its status."""
    engine = os.getppid()
    # This process is in the process group that the engine made for its plugin, so the engine's signals reach both.
    # SIGINT is ignored here before there is a plugin to interrupt; SIGCHLD is blocked until the plugin's id is known.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, _ended)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    plugin = os.posix_spawn(executable, [executable, *arguments], os.environ, setsigdef=[signal.SIGINT], setsigmask=[])
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        signal.signal(signal.SIGTERM, lambda *_: os.kill(plugin, signal.SIGTERM))
        hang_up = select.poll()
        if stat.S_ISFIFO(os.fstat(0).st_mode):  # an engine that was killed before we looked has closed its end
            hang_up.register(0, 0)
        while os.getppid() == engine and not hang_up.poll(PULSE * 1000):
            pass
        os.kill(plugin, signal.SIGINT)
        time.sleep(PATIENCE)
        os.kill(plugin, signal.SIGKILL)
        time.sleep(PATIENCE)
    except _EndedError:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, status = os.waitpid(plugin, 0)
    sys.exit(os.waitstatus_to_exitcode(status) & 0xFF)


if __name__ == "__main__":
    main(*sys.argv[1:])
