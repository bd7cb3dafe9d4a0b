"""Copies files from this machine into a pod, through the API server's exec."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from kubernetes.client.exceptions import ApiException
from websocket import WebSocketException

from components.backup import CONTAINER
from ops.kube.cluster import Cluster, ClusterError
from ops.kube.exec import finish, start

CHUNK: Final = 256 * 1024
"""Bytes of one message; the API server forwards messages of up to a few megabytes."""
_REFUSAL: Final = "the pod did not take the file"

# `head -c` and not `cat`: not every version of the protocol can signal the end of standard input. $UPLOAD is set in
# the container. The checksum gets its name last, in one step, because restore.sh waits for it as the end of the file.
_RECEIVE: Final = 'umask 077; head -c "$1" >"$UPLOAD/$2" && [ "$(wc -c <"$UPLOAD/$2")" -eq "$1" ]'
_CONFIRM: Final = 'umask 077; printf %s "$1" >"$UPLOAD/.sha256" && mv "$UPLOAD/.sha256" "$UPLOAD/database.dump.sha256"'


def upload(
    cluster: Cluster, pod: str, dump: Path, *, manifest: Path | None = None, sent: Callable[[int], None]
) -> None:
    """Sends the manifest, if any, the dump and then its SHA-256; calls `sent` with the size of each chunk of the dump.

    Raises `ClusterError` if the connection is lost or the pod refuses a file, and `StoppedError`.
    """
    try:
        if manifest is not None:
            _send(cluster, pod, manifest, "manifest.json", sent=lambda _: None)
        checksum = _send(cluster, pod, dump, "database.dump", sent=sent)
        connection = start(cluster, pod, CONTAINER, _CONFIRM, checksum, stdin=False)
        try:
            finish(cluster, connection, refusal=_REFUSAL)
        finally:
            connection.close()
    except (WebSocketException, ApiException, OSError) as error:
        raise ClusterError(f"the file did not arrive in the pod {pod}: {error}") from error


def _send(cluster: Cluster, pod: str, file: Path, name: str, *, sent: Callable[[int], None]) -> str:
    """Sends one file; returns its SHA-256."""
    digest = hashlib.sha256()
    connection = start(cluster, pod, CONTAINER, _RECEIVE, str(file.stat().st_size), name, stdin=True)
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK):
                cluster.interrupts.check()
                connection.write_stdin(chunk)
                digest.update(chunk)
                sent(len(chunk))
                connection.update(timeout=0)
                if not connection.is_open():  # also after the last chunk: `head` has everything, and has ended
                    break
        finish(cluster, connection, refusal=_REFUSAL)
    finally:
        connection.close()
    return digest.hexdigest()
