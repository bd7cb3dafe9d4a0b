"""One container's main process on this machine, ended and logged as by a kubelet and a container runtime."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rehearsal.processes import die_with_parent, kill_group, wait_for_group


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A path in the container, and the folder on this machine that stands in for it."""

    path: str
    folder: Path


def placed(text: str, mounts: Sequence[Mount]) -> str:
    """`text`, whose initial path is replaced by the folder of the mount that contains it."""
    for mount in sorted(mounts, key=lambda one: len(one.path), reverse=True):
        if text == mount.path or text.startswith(f"{mount.path}/"):
            return f"{mount.folder}{text.removeprefix(mount.path)}"
    return text


class Container:
    """Call `run` in the thread that waits for the container, and `end` from any other."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        account: Mapping[str, Any],
        log: Path,
        termination_message: Path,
    ) -> None:
        self.log, self._termination_message = log, termination_message
        self.environment = dict(environment)
        self._command, self._account = list(command), dict(account)
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()

    @property
    def message(self) -> str:
        """The container's termination message, of which a kubelet keeps 4096 bytes."""
        return self._termination_message.read_text()[:4096] if self._termination_message.exists() else ""

    def run(self) -> int:
        """Runs the process and returns its exit code as a container reports it: 137 after SIGKILL."""
        if self._ending.is_set():
            return 128 + signal.SIGKILL
        self._process = subprocess.Popen(
            self._command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - prctl has no other place
            **self._account,
        )
        if self._ending.is_set():
            self.kill()
        pump = threading.Thread(target=self._write_log, daemon=True)
        pump.start()
        code = wait_for_group(self._process)  # a container ends with its first process
        self._ending.set()
        pump.join()
        return 128 - code if code < 0 else code

    def end(self, grace: float) -> None:
        """Sends SIGTERM, and SIGKILL after `grace` seconds.

        The kernel does not deliver a signal to a container's first process if that has no handler for it: a shell
        without a trap ignores SIGTERM there, though it would not here.
        """
        if self._ending.is_set():
            return
        self._ending.set()
        process = self._process
        if process is None:
            return
        if _handles(process.pid, signal.SIGTERM):
            process.send_signal(signal.SIGTERM)
        killer = threading.Timer(grace, self.kill)
        killer.daemon = True
        killer.start()

    def kill(self) -> None:
        """Sends SIGKILL to everything in the container."""
        self._ending.set()
        if self._process is not None:
            kill_group(self._process)

    def _write_log(self) -> None:
        """Writes the log in the format of the container runtime interface, which kubelets read."""
        assert self._process is not None  # noqa: S101 - started before this thread
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        with self.log.open("ab", buffering=0) as log:
            for line in self._process.stdout:
                now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
                log.write(f"{now} stdout F ".encode() + line.removesuffix(b"\n") + b"\n")


def _handles(pid: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal; True if /proc does not say."""
    with contextlib.suppress(OSError, StopIteration):
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        caught = next(line for line in status if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
    return True
