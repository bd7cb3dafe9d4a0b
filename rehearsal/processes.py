"""Child processes that do not outlive the rehearsal, whatever becomes of it."""

from __future__ import annotations

import contextlib
import ctypes
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
"""Environment of Go's programs here: at Go's default of 100, garbage collection is up to a fifth of their CPU time.

They take more memory for it, up to a limit from which they collect as often as they must: the API server, the largest
of them, has 370 MiB by default, and without the limit 740.
"""

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ProcessError(Exception):
    """A process did not start, or did not become ready; the message ends with what it logged last."""


@dataclass(frozen=True, kw_only=True)
class Child:
    """A process of ours, and the file that its output goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment.

    From below the range that the kernel takes ports of outgoing connections from (Linux 32768, macOS 49152 and up): one
    of those could take the port between this call and the start of its server. Raises `ProcessError`.
    """
    for _ in range(1000):
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            return port
    raise ProcessError("127.0.0.1 has no free port between 20000 and 29999; stop what listens there, see `ss -ltn`")


def answers(port: int) -> bool:
    """Whether somebody listens on this port of 127.0.0.1."""
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
    """Runs `command` for the time of the context, its output in `log`, whose stem names it in errors.

    Ended by SIGTERM, after `grace` seconds by SIGKILL; on Linux the kernel also kills it when this process dies. In a
    session of its own, so that Ctrl-C reaches us first and what still needs it can be stopped in order. `keep`: file
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
            preexec_fn=die_with_parent,  # noqa: PLW1509 - prctl has no other place
        )
    try:
        yield Child(name=log.stem, process=process, log=log)
    finally:
        stop(process, grace=grace)


def stop(process: subprocess.Popen[bytes], *, grace: float = 5) -> None:
    """Ends a process and what it has started; what of it still runs once the process has ended is killed.

    Does nothing for a process that has been waited for, as `kill_group`.
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
    """SIGKILL to a process that leads a group, and to all of it.

    Does nothing for a process that has been waited for: its number may be another's by then, such as a plugin's, which
    also leads a group. The kernel comes round to a number within minutes.
    """
    if process.returncode is None:
        _kill_group(process.pid)


def wait_for_group(process: subprocess.Popen[Any]) -> int:
    """Waits for a process and kills at once what of its group it has left behind. Returns its return code."""
    code = process.wait()
    _kill_group(process.pid)
    return code


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: not permitted, where only a zombie is left
        os.killpg(pid, signal.SIGKILL)


def wait_until(ready: Callable[[], bool], *, what: str, children: Sequence[Child], timeout: float) -> None:
    """Returns once `ready` says so; raises `ProcessError` when one of `children` has ended or after `timeout` seconds.

    `children`: everything that readiness hangs on; after the timeout the last one's log is cited.
    """
    deadline = time.monotonic() + timeout
    while not ready():
        for child in children:
            if child.process.poll() is not None:
                _kill_group(child.process.pid)  # now: `stop` does not know whose number that is by then
                raise ProcessError(
                    f"{child.name} ended with status {child.process.returncode} before {what}.\n{_tail(child.log)}"
                )
        if time.monotonic() > deadline:
            raise ProcessError(f"Waited {timeout:.0f} s in vain for: {what}.\n{_tail(children[-1].log)}")
        time.sleep(0.05)


def _tail(log: Path, lines: int = 15) -> str:
    return f"{log} ends with:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def die_with_parent() -> None:
    """For `preexec_fn`: on Linux the kernel kills the process when the thread that started it ends."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
