"""A file that is uploaded to a pod arrives complete, and its checksum covers all of it."""

from __future__ import annotations

import hashlib
import signal
import threading
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from kubernetes.client import ApiClient

from ops.kube import exec as module
from ops.kube.cluster import Cluster, ClusterError, Interrupts, StoppedError
from ops.restore.transfer import CHUNK, upload
from tests.stacks import DEV


class Connection:
    """An exec whose command exits, and closes the connection, once it has received `wanted` bytes."""

    def __init__(self, wanted: int, status: int = 0) -> None:
        self.wanted, self.returncode, self.got, self.sock = wanted, status, b"", mock.Mock()

    def write_stdin(self, data: bytes) -> None:
        self.got += data

    def is_open(self) -> bool:
        return len(self.got) < self.wanted

    def update(self, timeout: float) -> None: ...

    def read_channel(self, _channel: int) -> bytes:
        return b""

    def close(self) -> None: ...


def uploaded(monkeypatch: pytest.MonkeyPatch, file: Path, receiving: Connection) -> tuple[str, int]:
    """The checksum that the pod was given, and how many bytes were reported as sent."""
    commands: list[list[str]] = []

    def stream(_call: Any, *_names: str, command: list[str], **_options: Any) -> Connection:
        commands.append(command)
        return receiving if len(commands) == 1 else Connection(0)

    monkeypatch.setattr(module, "stream", stream)
    cluster = Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())
    sent: list[int] = []
    upload(cluster, "pod", file, sent=sent.append)
    return commands[1][-1], sum(sent)


@pytest.mark.parametrize("size", [1, CHUNK, CHUNK + 1, 3 * CHUNK - 1])
def test_the_checksum_covers_the_whole_file_even_if_the_pod_hangs_up_at_the_last_byte(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int
) -> None:
    file = tmp_path / "dump"
    file.write_bytes(bytes(range(256)) * (size // 256) + bytes(size % 256))
    receiving = Connection(size)
    assert uploaded(monkeypatch, file, receiving) == (hashlib.sha256(file.read_bytes()).hexdigest(), size)
    assert receiving.got == file.read_bytes()


def test_the_manifest_arrives_before_the_dump_and_the_checksum_last(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, manifest = tmp_path / "database.dump", tmp_path / "manifest.json"
    file.write_bytes(b"dump")
    manifest.write_bytes(b"{}")
    commands: list[list[str]] = []
    received: list[Connection] = []

    def stream(_call: Any, *_names: str, command: list[str], **_options: Any) -> Connection:
        commands.append(command)
        received.append(Connection(int(command[4]) if len(command) > 5 else 0))
        return received[-1]

    monkeypatch.setattr(module, "stream", stream)
    cluster = Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())
    sent: list[int] = []
    upload(cluster, "pod", file, manifest=manifest, sent=sent.append)
    assert [command[4:] for command in commands] == [
        ["2", "manifest.json"],
        ["4", "database.dump"],
        [hashlib.sha256(b"dump").hexdigest()],
    ]
    assert [connection.got for connection in received] == [b"{}", b"dump", b""]
    assert sent == [4], "the dump's alone"


def test_a_pod_that_does_not_take_the_file_ends_the_restore(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "dump"
    file.write_bytes(bytes(2 * CHUNK))
    with pytest.raises(ClusterError, match="the pod did not take the file: status 1"):
        uploaded(monkeypatch, file, Connection(1, status=1))


def test_an_exec_that_the_api_server_does_not_answer_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "dump"
    file.write_bytes(b"x")
    never = threading.Event()
    monkeypatch.setattr(module, "stream", lambda *_, **__: never.wait())
    monkeypatch.setattr(module, "LOOK", 0.01)
    cluster = Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())
    monkeypatch.setattr(module, "STALL", 0.05)
    with pytest.raises(ClusterError, match="did not open a connection"):
        upload(cluster, "pod", file, sent=lambda _: None)
    monkeypatch.setattr(module, "STALL", 60.0)
    cluster.interrupts.received = signal.SIGINT
    with pytest.raises(StoppedError):
        upload(cluster, "pod", file, sent=lambda _: None)
    never.set()
