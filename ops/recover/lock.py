"""Finds the process that holds a stack's lock: `recover` removes the lock only if that process has ended.

Pulumi's file backend keeps a lock as .pulumi/locks/organization/<project>/<stack>/<id>.json, with the process that took
it (pulumi's pkg/backend/diy/lock.go). Other backends show nobody their locks.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ops.command_line import PulumiError
from settings.names import Names


@dataclass(frozen=True, kw_only=True)
class Lock:
    """One lock, as Pulumi wrote it."""

    pid: int
    username: str
    hostname: str
    timestamp: str

    def __str__(self) -> str:
        return f"process {self.pid} of {self.username} on {self.hostname}, since {self.timestamp}"


def check_lock(names: Names, backend: Path | None, *, certain: bool) -> None:
    """Raises `PulumiError` if the lock's process is alive, or if that is unknown and the user is not `certain`.

    `backend` is the folder of the file backend, None for any other backend.
    """
    if backend is None:
        if not certain:
            raise UnknownHolderError(
                "This state's backend does not say who holds its lock. Make sure that no `pulumi` is working on stack "
                f"{names.stack}, on any machine and in any pipeline"
            )
        return
    unknown = []
    for lock in _locks(names, backend):
        if lock.hostname != socket.gethostname():
            unknown.append(lock)
        elif _lives(lock.pid):
            raise PulumiError(
                f"Stack {names.stack} is being worked on: {lock}. `recover` is for a `pulumi` that has died; nothing "
                f"was changed. Wait until it ends, or stop it (kill -INT {lock.pid}) and let it finish."
            )
    if unknown and not certain:
        listed = "; ".join(map(str, unknown))
        raise UnknownHolderError(
            f"The lock of stack {names.stack} was taken elsewhere: {listed}. Make sure that it no longer runs there"
        )


class UnknownHolderError(PulumiError):
    """This machine cannot know whether the lock's process is alive; the user may be certain that it has ended."""


def _locks(names: Names, backend: Path) -> Iterator[Lock]:
    for file in sorted((backend / ".pulumi" / "locks").glob(f"*/{names.project}/{names.stack}/*.json")):
        try:
            content = json.loads(file.read_text())
            yield Lock(
                pid=int(content["pid"]),
                username=str(content["username"]),
                hostname=str(content["hostname"]),
                timestamp=str(content["timestamp"]),
            )
        except FileNotFoundError:  # its process has ended meanwhile
            continue
        except (OSError, ValueError, KeyError, TypeError):  # half-written: its writer died during the write
            continue


def _lives(pid: int) -> bool:
    """Whether the process runs and is a `pulumi`: another process may have its number by now."""
    if not _exists(pid):
        return False
    try:
        shown = subprocess.run(
            ["ps", "-o", "stat=,comm=", "-p", str(pid)],  # noqa: S607 - the system may have it anywhere
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        ).stdout.split(maxsplit=1)
    except (OSError, subprocess.TimeoutExpired):  # the system has no `ps`
        shown = []
    if len(shown) != 2:  # BusyBox's `ps` does not know these options either: better to refuse once too often
        return _exists(pid)
    return not shown[0].startswith("Z") and "pulumi" in shown[1]


def _exists(pid: int) -> bool:
    if pid <= 0:  # the system reads that as a whole process group
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
