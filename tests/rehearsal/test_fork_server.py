"""A fork of the server behaves as the process that its client replaces, and ends when that would have ended."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rehearsal.plugins.fork_server import client, fork_server
from rehearsal.processes import Child
from tests.pids import lives

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every stand-in is a process of its own")

MODULE = "tests.rehearsal.forked"
_PATIENCE = 30.0  # seconds; each of these takes a fraction of one, and what waits for its end would take 60


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Child]:
    with fork_server(tmp_path, [MODULE]) as child:
        assert child is not None
        yield child


def started(
    directory: Path, task: str, greeting: str = "hello", before: str = "exec", stdin: int = subprocess.DEVNULL
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["/bin/sh", "-c", f"{before} {client(directory, MODULE)} {task}"],
        stdin=stdin,
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
    deadline = time.monotonic() + _PATIENCE
    while lives(pid):
        assert time.monotonic() < deadline, f"{pid} lives on"
        time.sleep(0.02)


def test_it_has_the_client_s_environment_directory_arguments_streams_and_status(server: Child, tmp_path: Path) -> None:
    with started(tmp_path, "fail", "this command's") as process:
        about = said(process)
        _, errors = process.communicate(timeout=_PATIENCE)
    assert (about["cwd"], about["variable"], about["seen"]) == ("/", "this command's", ["fail"])
    assert errors == "to standard error\n"
    assert process.returncode == 7
    assert about["pid"] != process.pid
    assert server.process.poll() is None


def test_nothing_of_one_process_reaches_the_next(server: Child, tmp_path: Path) -> None:
    for greeting in ("first", "second"):
        with started(tmp_path, "look", greeting) as process:
            about = said(process)
            process.communicate(timeout=_PATIENCE)
        assert (about["variable"], about["seen"], process.returncode) == (greeting, ["look"], 0)
    assert server.process.poll() is None


def test_a_process_runs_its_exit_handlers(server: Child, tmp_path: Path) -> None:
    with started(tmp_path, "clean") as process:
        output, _ = process.communicate(timeout=_PATIENCE)
    assert output.splitlines()[1:] == ["cleaned up"]
    assert (process.returncode, server.process.poll()) == (0, None)


def test_a_signal_that_the_engine_sends_to_the_client_reaches_it(server: Child, tmp_path: Path) -> None:
    with started(tmp_path, "wait") as process:
        pid = waiting(process)
        process.send_signal(signal.SIGINT)
        assert process.wait(_PATIENCE) == 3
    wait_for_end(pid)
    assert server.process.poll() is None


def test_it_can_be_interrupted_even_if_the_server_s_parent_ignores_sigint(tmp_path: Path) -> None:
    """A shell ignores it for its background jobs: the engine would then wait 5 s for the dynamic provider to end."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with fork_server(tmp_path, [MODULE]), started(tmp_path, "sleep") as process:
            pid = waiting(process)
            process.send_signal(signal.SIGINT)
            assert process.wait(_PATIENCE) == 1
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for_end(pid)


@contextmanager
def asking(directory: Path) -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    """A client that has asked this process for a fork, and has no answer yet."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "plugins.socket"))
        listener.listen(1)
        with started(directory, "wait") as process:
            connection, _ = listener.accept()
            length, streams, _, _ = socket.recv_fds(connection, 8, 3)
            for stream in streams:
                os.close(stream)
            connection.recv(int.from_bytes(length), socket.MSG_WAITALL)
            connection.settimeout(_PATIENCE)
            yield process, connection


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_sent_before_the_client_knows_its_process_still_reaches_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    with asking(tmp_path) as (process, connection), subprocess.Popen(["/bin/sleep", "60"], process_group=0) as made:
        process.send_signal(number)
        assert connection.recv(1) == bytes([number])
        connection.sendall(made.pid.to_bytes(8) + bytes([3]))
        assert process.wait(_PATIENCE) == 3
        # A real fork has ended by then, and its id may belong to another process.
        assert made.poll() is None, "a process that has reported its status is not killed any more"
        made.kill()


def test_a_signal_sent_to_the_client_is_not_lost_with_the_server(tmp_path: Path) -> None:
    with asking(tmp_path) as (process, connection):
        process.send_signal(signal.SIGINT)
        assert connection.recv(1)
        connection.close()
        assert process.wait(_PATIENCE) == -signal.SIGINT


def test_a_stand_in_interrupted_right_after_printing_its_port_ends_cleanly() -> None:
    interrupts_itself = """
import os, signal, sys
from rehearsal.plugins.base import serve_engine

class Output:
    def write(self, text):
        sys.__stdout__.write(text)
        os.kill(os.getpid(), signal.SIGINT)

    def flush(self):
        sys.__stdout__.flush()

sys.stdout = Output()
serve_engine(lambda server: None, workers=1)
"""
    done = subprocess.run(
        [sys.executable, "-c", interrupts_itself], capture_output=True, text=True, check=False, timeout=_PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout)


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
        engine.communicate(timeout=_PATIENCE)
    wait_for_end(pid)
    assert server.process.poll() is None


def test_it_ends_even_if_the_engine_was_killed_before_its_client_looked_for_one(server: Child, tmp_path: Path) -> None:
    with started(tmp_path, "wait", stdin=subprocess.PIPE) as process:
        pid = waiting(process)
        assert process.stdin is not None
        process.stdin.close()  # its parent, this process, stays the same
        try:
            wait_for_end(pid)
        finally:
            process.kill()
    assert server.process.poll() is None


def test_a_client_ends_with_an_error_if_its_process_dies(server: Child, tmp_path: Path) -> None:
    with started(tmp_path, "die") as process:
        process.communicate(timeout=_PATIENCE)
    assert process.returncode == 1
    assert server.process.poll() is None


def test_without_the_server_running_processes_continue_and_new_clients_become_the_process_themselves(
    server: Child, tmp_path: Path
) -> None:
    with started(tmp_path, "wait") as process:
        pid = waiting(process)
        server.process.kill()
        server.process.wait()
        assert lives(pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(_PATIENCE) == 3
    with started(tmp_path, "look") as process:
        about = said(process)
        process.communicate(timeout=_PATIENCE)
    assert (about["pid"], about["cwd"], about["variable"]) == (process.pid, "/", "hello")
