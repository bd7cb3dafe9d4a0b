"""A plugin that does not watch its engine itself still ends with it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rehearsal.engine import watched
from tests.pids import lives

_PATIENCE = 30.0  # seconds; each of these takes one or less
WATCHED = shlex.join([sys.executable, "-I", "-S", watched.__file__, "/bin/sh", "-c"])


def started(script: str, *, before: str = "exec") -> subprocess.Popen[str]:
    """In its own process group, as an engine starts its plugins; without `exec`, a shell acts as the engine."""
    return subprocess.Popen(
        ["/bin/sh", "-c", f"{before} {WATCHED} {shlex.quote(script)}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_it_passes_on_the_plugin_s_output_and_status() -> None:
    with started("echo 1234; exit 7") as process:
        assert said(process) == "1234"
        assert process.wait(_PATIENCE) == 7


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while lives(pid):
        assert time.monotonic() < deadline, "the plugin lives on"
        time.sleep(0.05)


@pytest.mark.parametrize("status", [0, 3])
def test_the_engine_s_interrupt_reaches_it(status: int) -> None:
    with started(f"trap 'exit {status}' INT; echo $$; while :; do sleep 0.05; done") as process:
        assert said(process)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(_PATIENCE) == status


def test_it_ends_after_its_engine_was_killed(tmp_path: Path) -> None:
    done = tmp_path / "interrupted"
    with started(f"trap 'touch {done}; exit' INT; echo $$; while :; do sleep 0.05; done", before="") as engine:
        pid = int(said(engine))
        time.sleep(0.2)
        assert lives(pid)
        engine.kill()
        engine.wait(_PATIENCE)
        wait_for_end(pid)
    assert done.exists()


def test_it_ends_even_if_the_engine_was_killed_before_it_looked_for_one(tmp_path: Path) -> None:
    done = tmp_path / "interrupted"
    with started(f"trap 'touch {done}; exit' INT; echo $$; while :; do sleep 0.05; done") as process:
        pid = int(said(process))
        assert process.stdin is not None
        process.stdin.close()  # its parent, this process, stays the same
        try:
            wait_for_end(pid)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert done.exists()
