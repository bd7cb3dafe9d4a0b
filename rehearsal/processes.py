"""Child processes that do not outlive the rehearsal, whatever becomes of it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ProcessError(Exception):
    """A process did not start, or did not become ready; the message ends with what it logged last."""


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    grace: float = 5,
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs `command` for the time of the context, its output in `log`.

    Ended by SIGTERM, after `grace` seconds by SIGKILL; on Linux the kernel also kills it when this process dies. In a
    session of its own, so that Ctrl-C reaches us first and what still needs it can be stopped in order.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment) if environment is not None else None,
            start_new_session=True,
            preexec_fn=die_with_parent if _LIBC is not None else None,  # noqa: PLW1509 - prctl has no other place
        )
    try:
        yield process
    finally:
        stop(process, grace=grace)


def stop(process: subprocess.Popen[bytes], *, grace: float = 5) -> None:
    """Ends a process and what it has started."""
    for signal_, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal_)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return


def wait_until(
    ready: Callable[[], bool], *, what: str, process: subprocess.Popen[bytes], log: Path, timeout: float
) -> None:
    """Returns once `ready` says so; raises `ProcessError` when the process ends or `timeout` seconds have passed."""
    deadline = time.monotonic() + timeout
    while not ready():
        if process.poll() is not None:
            raise ProcessError(f"{what} ended with status {process.returncode} before it was ready.\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise ProcessError(f"{what} was not ready after {timeout:.0f} s.\n{_tail(log)}")
        time.sleep(0.05)


def _tail(log: Path, lines: int = 15) -> str:
    return f"{log} ends with:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def die_with_parent() -> None:
    """For `preexec_fn` (Linux): the kernel kills the process when the thread that started it ends."""
    assert _LIBC is not None  # noqa: S101 - only then is this handed over
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
