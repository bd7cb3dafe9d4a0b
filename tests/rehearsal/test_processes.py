"""Child processes do not outlive the rehearsal, and say why they did not start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from rehearsal.pods.container import Container
from rehearsal.processes import ProcessError, free_port, kill_group, running, stop, wait_until
from tests.pids import lives

_REPOSITORY = Path(__file__).parents[2]
_PATIENCE = 30.0  # seconds; each of these takes a few milliseconds


def ends(pid: int) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not lives(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel ends the children of a killed process")
def test_a_killed_parent_leaves_no_child(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from rehearsal.processes import running\n"
        "with running(['sleep', '60'], log=Path(sys.argv[1])) as child:\n"
        "    print(child.process.pid, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "sleep.log")],
        cwd=_REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert lives(child)
        parent.send_signal(signal.SIGKILL)
    assert ends(child)


def test_a_process_that_ignores_sigterm_is_killed_after_its_grace_period(tmp_path: Path) -> None:
    log = tmp_path / "stubborn.log"
    with running(["sh", "-c", "trap '' TERM; echo trapped; while :; do sleep 0.05; done"], log=log, grace=0.1) as child:
        wait_until(lambda: "trapped" in log.read_text(), what="it ignores SIGTERM", children=[child], timeout=_PATIENCE)
    assert child.process.returncode == -signal.SIGKILL


def test_the_children_of_a_process_end_with_it(tmp_path: Path) -> None:
    log = tmp_path / "parent.log"
    command = "(trap '' TERM; echo started; exec sleep 60) & echo $!; wait"
    with running(["sh", "-c", command], log=log) as child:
        wait_until(lambda: "started" in log.read_text(), what="it has a child", children=[child], timeout=_PATIENCE)
        grandchild = next(int(line) for line in log.read_text().splitlines() if line.isdigit())
        assert lives(grandchild)
    assert ends(grandchild)


@pytest.fixture
def signalled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process groups that were sent a signal."""
    groups: list[int] = []
    kill = os.killpg

    def noted(group: int, number: int) -> None:
        groups.append(group)
        kill(group, number)

    monkeypatch.setattr(os, "killpg", noted)
    return groups


def test_no_signal_is_sent_to_the_pid_of_a_process_that_has_been_waited_for(
    tmp_path: Path, signalled: list[int]
) -> None:
    with running(["sleep", "60"], log=tmp_path / "sleep.log") as child:
        child.process.kill()
        child.process.wait()
    stop(child.process)
    kill_group(child.process)
    assert signalled == []


def test_a_container_that_ended_within_its_grace_period_is_not_killed_afterwards(
    tmp_path: Path, signalled: list[int]
) -> None:
    script, log = "trap 'exit 3' TERM; echo ready; sleep 60 & wait", tmp_path / "log"
    container = Container(
        ["/bin/sh", "-c", script], environment={}, account={}, log=log, termination_message=tmp_path / "message"
    )
    code: list[int] = []
    waiting = threading.Thread(target=lambda: code.append(container.run()))
    waiting.start()
    while not (log.exists() and log.read_text()):
        time.sleep(0.01)
    container.end(grace=2)
    waiting.join(_PATIENCE)
    assert code == [3]
    del signalled[:]
    time.sleep(2.5)
    assert signalled == []


def test_the_children_of_a_process_that_ended_too_early_end_with_it(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    with (
        running(["sh", "-c", "sleep 60 & echo $!; exit 3"], log=log) as etcd,
        pytest.raises(ProcessError, match="etcd ended with status 3"),
    ):
        wait_until(lambda: False, what="it answers", children=[etcd], timeout=_PATIENCE)
    assert ends(int(log.read_text()))


def test_the_error_names_any_process_that_ended_too_early_with_the_end_of_its_log(tmp_path: Path) -> None:
    with (
        running(["sh", "-c", "echo address already in use; exit 3"], log=tmp_path / "etcd.log") as etcd,
        running(["sleep", "60"], log=tmp_path / "kube-apiserver.log") as server,
        pytest.raises(ProcessError, match=r"(?s)^etcd ended with status 3 before it answers\..*address already in use"),
    ):
        wait_until(lambda: False, what="it answers", children=[etcd, server], timeout=_PATIENCE)


def test_waiting_is_bounded(tmp_path: Path) -> None:
    log = tmp_path / "slow.log"
    with running(["sh", "-c", "echo still loading; sleep 60"], log=log) as child:
        wait_until(lambda: bool(log.read_text()), what="it says so", children=[child], timeout=_PATIENCE)
        with pytest.raises(ProcessError, match=r"(?s)^Timed out after 1 s waiting until it answers\..*still loading"):
            wait_until(lambda: False, what="it answers", children=[child], timeout=0.6)


def test_a_process_takes_turns_in_ports_that_others_rarely_choose() -> None:
    found = [free_port() for _ in range(20)]
    assert len({port // 100 for port in found}) == 1
    assert len(set(found)) == len(found)


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not say its range in a file")
def test_no_outgoing_connection_can_take_a_free_port_before_its_server_does() -> None:
    lowest, highest = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not any(lowest <= free_port() <= highest for _ in range(100))
