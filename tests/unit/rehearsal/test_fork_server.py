"""A fork of the server is the process that its client would have been, and ends when that would have ended."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.plugins.fork_server import client, fork_server
from rehearsal.processes import Child
from tests.pids import lives

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every stand-in is a process of its own")

MODULE = "tests.unit.rehearsal.forked"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Child]:
    with fork_server(tmp_path, [MODULE]) as child:
        assert child is not None
        yield child


def started(directory: Path, task: str, greeting: str = "hello", before: str = "exec") -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["/bin/sh", "-c", f"{before} {client(directory, MODULE)} {task}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
        env={"GREETING": greeting},
    )


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    about: dict[str, Any] = json.loads(process.stdout.readline())
    return about


def waiting(process: subprocess.Popen[str]) -> int:
    """The id of the process behind a client, once it waits."""
    pid: int = said(process)["pid"]
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    assert lives(pid)
    return pid


def wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 5
    while lives(pid):
        assert time.monotonic() < deadline, f"{pid} lives on"
        time.sleep(0.02)


def test_it_has_the_client_s_environment_directory_arguments_streams_and_status(server: Child, tmp_path: Path) -> None:
    with started(tmp_path, "fail", "this command's") as process:
        about = said(process)
        _, errors = process.communicate(timeout=10)
    assert (about["cwd"], about["variable"], about["seen"]) == ("/", "this command's", ["fail"])
    assert errors == "to standard error\n"
    assert process.returncode == 7
    assert about["pid"] != process.pid
    assert server.process.poll() is None


def test_nothing_of_one_process_reaches_the_next(server: Child, tmp_path: Path) -> None:
    for greeting in ("first", "second"):
        with started(tmp_path, "look", greeting) as process:
            about = said(process)
            process.communicate(timeout=10)
        assert (about["variable"], about["seen"], process.returncode) == (greeting, ["look"], 0)
    assert server.process.poll() is None


def test_what_the_engine_sends_to_the_client_reaches_it(server: Child, tmp_path: Path) -> None:
    with started(tmp_path, "wait") as process:
        pid = waiting(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 3
    wait_for_end(pid)
    assert server.process.poll() is None


def test_it_is_killed_with_its_client(server: Child, tmp_path: Path) -> None:
    with started(tmp_path, "wait") as process:
        pid = waiting(process)
        process.kill()
    wait_for_end(pid)
    assert server.process.poll() is None


def test_it_ends_after_the_engine_that_started_its_client(server: Child, tmp_path: Path) -> None:
    with started(tmp_path, "wait", before="") as engine:  # a shell that waits for the client
        pid = waiting(engine)
        engine.kill()
        engine.communicate(timeout=5)
    wait_for_end(pid)
    assert server.process.poll() is None


def test_a_client_ends_with_an_error_where_its_process_dies(server: Child, tmp_path: Path) -> None:
    with started(tmp_path, "die") as process:
        process.communicate(timeout=10)
    assert process.returncode == 1
    assert server.process.poll() is None


def test_without_the_server_what_runs_runs_on_and_what_comes_is_a_process_of_its_own(
    server: Child, tmp_path: Path
) -> None:
    with started(tmp_path, "wait") as process:
        pid = waiting(process)
        server.process.kill()
        server.process.wait()
        assert lives(pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 3
    with started(tmp_path, "look") as process:
        about = said(process)
        process.communicate(timeout=10)
    assert (about["pid"], about["cwd"], about["variable"]) == (process.pid, "/", "hello")
