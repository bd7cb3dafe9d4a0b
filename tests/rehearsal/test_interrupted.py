"""A rehearsal leaves no process behind, however it is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rehearsal.rehearsal import REPOSITORY
from rehearsal.toolchain import Tools
from tests.attentive import attentive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc, which only Linux has")


def processes_of(directory: Path) -> list[str]:
    """Command lines that name something in `directory`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended as we looked
        if str(directory) in command:
            found.append(command)
    return found


def kill_fork_server(directory: Path) -> None:
    """Makes the stand-ins start as they do without a fork server."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended as we looked
            command = file.read_bytes().decode(errors="replace")
            if "rehearsal.plugins.fork_server" in command and str(directory) in command:
                os.kill(int(file.parent.name), signal.SIGKILL)


@pytest.mark.parametrize("forks", [True, False], ids=["forks", "processes of their own"])
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_survives_a_stopped_rehearsal(
    tools: Tools, tmp_path: Path, signal_: signal.Signals, forks: bool
) -> None:
    del tools  # built before, so that the test covers running, not building
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [*attentive("rehearsal"), "rehearse"], cwd=REPOSITORY, env=environment, start_new_session=True
    ) as rehearsal:
        deadline = time.monotonic() + 180
        while not any("pulumi up" in command for command in processes_of(tmp_path)):
            assert time.monotonic() < deadline, "the rehearsal did not get to its first up"
            if not forks:
                kill_fork_server(tmp_path)
            time.sleep(0.1)
        if signal_ == signal.SIGKILL:
            rehearsal.kill()
        else:
            os.killpg(rehearsal.pid, signal_)
        rehearsal.wait(timeout=180)
    deadline = time.monotonic() + 60
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert processes_of(tmp_path) == []
