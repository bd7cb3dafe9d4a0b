"""Child processes that do not outlive the rehearsal, however it ends."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

COLLECTING_LESS: Final = {"GOGC": "400", "GOMEMLIMIT": "640MiB"}
"""Environment of the Go programs: at Go's default of 100, garbage collection takes up to a fifth of their CPU time.

In return they use more memory, up to a limit at which they collect as often as they must. The API server, the largest
of them, uses 370 MiB at the defaults, and 740 without the limit.
"""

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ProcessError(Exception):
    """A process did not start, or did not become ready; the message ends with the last lines of its log."""


@dataclass(frozen=True, kw_only=True)
class Child:
    """A process that we started, and the file that its output goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


_TURNS: Final = itertools.count()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment.

    It is below the range that the kernel uses for outgoing connections (Linux 32768, macOS 49152 and up): one of those
    could take the port between this call and the start of its server. Each process takes turns in a hundred of its
    own, so that no other call has the same in these seconds. Raises `ProcessError`.
    """
    for attempt in range(1000):
        own = os.getpid() % 100 * 100 + next(_TURNS) % 100
        port = 20_000 + (own if attempt < 100 else secrets.randbelow(10_000))
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            return port
    raise ProcessError("127.0.0.1 has no free port between 20000 and 29999; stop what listens there, see `ss -ltn`")


def answers(port: int) -> bool:
    """Whether a server listens on this port of 127.0.0.1."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    grace: float = 5,
    keep: Sequence[int] = (),
) -> Iterator[Child]:
    """Runs `command` for the duration of the context. Its output goes to `log`, whose stem names it in errors.

    Leaving sends SIGTERM and, after `grace` seconds, SIGKILL; on Linux the kernel also kills it when this process dies.
    It has its own session, so that Ctrl-C reaches us first and we can stop what depends on it before it. `keep`: file
    descriptors that it inherits.
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment) if environment is not None else None,
            pass_fds=keep,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - prctl must be called in the child
        )
    try:
        yield Child(name=log.stem, process=process, log=log)
    finally:
        stop(process, grace=grace)


def stop(process: subprocess.Popen[bytes], *, grace: float = 5) -> None:
    """Terminates a process and its group; kills the members that still run once the process has ended.

    Like `kill_group`, does nothing for a process that has been waited for.
    """
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace)
    _kill_group(process.pid)
    process.wait(10.0)


def kill_group(process: subprocess.Popen[Any]) -> None:
    """Sends SIGKILL to the group that a process leads.

    Does nothing for a process that has been waited for: its id may belong to another process by then, such as a plugin,
    which also leads a group. The kernel reuses an id within minutes.
    """
    if process.returncode is None:
        _kill_group(process.pid)


def wait_for_group(process: subprocess.Popen[Any]) -> int:
    """Waits for a process, then kills at once the rest of its group. Returns its return code."""
    code = process.wait()
    _kill_group(process.pid)
    return code


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: not permitted if only a zombie is left
        os.killpg(pid, signal.SIGKILL)


def wait_until(ready: Callable[[], bool], *, what: str, children: Sequence[Child], timeout: float) -> None:
    """Returns once `ready` returns true; raises `ProcessError` if one of `children` ends or after `timeout` seconds.

    `children`: all processes that readiness depends on; after the timeout, the error quotes the log of the last one.
    """
    deadline = time.monotonic() + timeout
    while not ready():
        for child in children:
            if child.process.poll() is not None:
                _kill_group(child.process.pid)  # now: `stop` cannot know whose id it is by then
                raise ProcessError(
                    f"{child.name} ended with status {child.process.returncode} before {what}.\n{_tail(child.log)}"
                )
        if time.monotonic() > deadline:
            raise ProcessError(f"Timed out after {timeout:.0f} s waiting until {what}.\n{_tail(children[-1].log)}")
        time.sleep(0.05)


def _tail(log: Path) -> str:
    return f"{log} ends with:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])


def die_with_parent() -> None:
    """For `preexec_fn`: on Linux the kernel kills the process when the thread that started it ends."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
