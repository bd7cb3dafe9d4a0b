"""A command in a container gets exactly the input it is given, and its failure is an error in its own words."""

from __future__ import annotations

import subprocess
from typing import Any
from unittest import mock

import pytest
from kubernetes.client import ApiClient

from ops.kube import exec as module
from ops.kube.cluster import Cluster, ClusterError, Interrupts
from ops.kube.exec import run_in
from tests.stacks import DEV


class Connection:
    """An exec that runs its command locally, with an input that is never closed."""

    def __init__(self, command: list[str], *, stdin: bool) -> None:
        self.sock = mock.Mock()
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe if stdin else subprocess.DEVNULL, stdout=pipe, stderr=pipe)

    def write_stdin(self, data: bytes) -> None:
        assert self._process.stdin
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def is_open(self) -> bool:
        return self._process.poll() is None

    def update(self, timeout: float) -> None:
        assert timeout
        self._process.wait(10)

    @property
    def returncode(self) -> int:
        return self._process.returncode

    def read_channel(self, channel: int) -> bytes:
        stream = self._process.stdout if channel == 1 else self._process.stderr
        assert stream
        return stream.read()

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream:
                stream.close()


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    def stream(_call: Any, *_names: str, command: list[str], stdin: bool, **_options: Any) -> Connection:
        return Connection(command, stdin=stdin)

    monkeypatch.setattr(module, "stream", stream)
    return Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())


def test_a_script_of_several_lines_reads_its_input_and_ends_with_it(cluster: Cluster) -> None:
    said = run_in(cluster, "pod", "container", '\necho "$1" || exit\ncat\n', "first", given="second\nthird")
    assert said == "first\nsecond\nthird"
    assert run_in(cluster, "pod", "container", "echo alone") == "alone\n"


def test_a_failure_is_reported_in_the_commands_own_words(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="the pod refused: out\nno"):
        run_in(cluster, "pod", "container", "cat; echo no >&2; exit 3", given="out\n")
