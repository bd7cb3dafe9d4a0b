"""Brings files from this machine into a pod, over the API server's exec."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from kubernetes import client as api
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream
from websocket import WebSocketException

from components.backup import CONTAINER
from ops.kube.cluster import Cluster, ClusterError

CHUNK: Final = 256 * 1024
"""Bytes of one message; the API server passes messages of up to some megabytes on."""
_STALL: Final = 60.0
"""Seconds without any progress after which the connection counts as lost."""
_LOOK: Final = 1.0  # seconds between two looks at whether we are to stop

# `head -c` and not `cat`: not every version of the protocol can say that standard input has ended. $UPLOAD is set in
# the container. The checksum comes under its name last and at once, because restore.sh takes it for the file's end.
_RECEIVE: Final = 'umask 077; head -c "$1" >"$UPLOAD/$2" && [ "$(wc -c <"$UPLOAD/$2")" -eq "$1" ]'
_CONFIRM: Final = 'umask 077; printf %s "$1" >"$UPLOAD/.sha256" && mv "$UPLOAD/.sha256" "$UPLOAD/database.dump.sha256"'


def upload(
    cluster: Cluster, pod: str, dump: Path, *, manifest: Path | None = None, sent: Callable[[int], None]
) -> None:
    """Sends the manifest, if any, the dump and then its SHA-256; calls `sent` with the bytes of each piece of the dump.

    Raises `ClusterError` where the connection is lost or the pod does not take it, and `StoppedError`.
    """
    try:
        if manifest is not None:
            _send(cluster, pod, manifest, "manifest.json", sent=lambda _: None)
        checksum = _send(cluster, pod, dump, "database.dump", sent=sent)
        connection = _run(cluster, pod, _CONFIRM, checksum, stdin=False)
        try:
            _finish(cluster, connection)
        finally:
            connection.close()
    except (WebSocketException, ApiException, OSError) as error:
        raise ClusterError(f"the file did not arrive in the pod {pod}: {error}") from error


def _send(cluster: Cluster, pod: str, file: Path, name: str, *, sent: Callable[[int], None]) -> str:
    """Sends one file; its SHA-256."""
    digest = hashlib.sha256()
    connection = _run(cluster, pod, _RECEIVE, str(file.stat().st_size), name, stdin=True)
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK):
                cluster.interrupts.check()
                connection.write_stdin(chunk)
                digest.update(chunk)
                sent(len(chunk))
                connection.update(timeout=0)
                if not connection.is_open():  # with the last piece, too: `head` has all, and has ended
                    break
        _finish(cluster, connection)
    finally:
        connection.close()
    return digest.hexdigest()


def _run(cluster: Cluster, pod: str, script: str, *arguments: str, stdin: bool) -> Any:
    """Opens the exec, without which the client would wait for ever for an API server that does not answer."""
    opened: SimpleQueue[Any] = SimpleQueue()

    def run() -> None:
        try:
            opened.put(_open(cluster, pod, ["sh", "-c", script, "sh", *arguments], stdin=stdin))
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            opened.put(error)

    threading.Thread(target=run, name=f"exec in {pod}", daemon=True).start()
    deadline = time.monotonic() + _STALL
    while time.monotonic() < deadline:
        cluster.interrupts.check()
        with suppress(Empty):
            found = opened.get(timeout=_LOOK)
            if isinstance(found, Exception):
                raise found
            return found
    raise ClusterError(f"the API server did not open a connection to the pod {pod} for {_STALL:.0f} s")


def _open(cluster: Cluster, pod: str, command: list[str], *, stdin: bool) -> Any:
    # A client of its own: `stream` exchanges the way in which its client calls, while other threads use ours.
    core: Any = api.CoreV1Api(ApiClient(cluster.client.configuration))
    connection: Any = stream(
        core.connect_get_namespaced_pod_exec,
        pod,
        cluster.namespace,
        container=CONTAINER,
        command=command,
        stdin=stdin,
        stdout=True,
        stderr=True,
        tty=False,
        binary=True,
        _preload_content=False,
    )
    connection.sock.settimeout(_STALL)
    return connection


def _finish(cluster: Cluster, connection: Any) -> None:
    """Waits for the command's end; raises `ClusterError` where it did not succeed."""
    deadline = time.monotonic() + _STALL
    while connection.is_open() and time.monotonic() < deadline:
        cluster.interrupts.check()
        connection.update(timeout=_LOOK)
    if connection.is_open():
        raise ClusterError(f"the pod did not answer for {_STALL:.0f} s")
    said = b"".join(connection.read_channel(channel) or b"" for channel in (1, 2)).decode(errors="replace").strip()
    try:
        status = connection.returncode
    except (TypeError, KeyError, IndexError, ValueError):
        raise ClusterError(f"the connection to the pod was lost. {said}".strip()) from None
    if status:
        raise ClusterError(f"the pod did not take the file: {said or f'status {status}'}")
