"""Runs a command in a container, through the API server's exec."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Final

from kubernetes import client as api
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream
from websocket import WebSocketException

from lookups.cluster_client import in_files
from ops.kube.cluster import Cluster, ClusterError

STALL: Final = 60.0
"""Seconds without any progress after which the connection counts as lost."""
LOOK: Final = 1.0  # seconds between two checks for a signal


def run_in(cluster: Cluster, pod: str, container: str, script: str, *arguments: str, given: str = "") -> str:
    """Runs a shell script with `given` as its whole input; returns its standard output. Raises `ClusterError`."""
    data = given.encode()
    try:
        # `head -c`: not every version of the protocol can signal the end of standard input.
        piped = f"head -c {len(data)} | {{\n{script}\n}}" if data else script
        connection = start(cluster, pod, container, piped, *arguments, stdin=bool(data))
        try:
            if data:
                connection.write_stdin(data)
            return finish(cluster, connection)
        finally:
            connection.close()
    except (WebSocketException, ApiException, OSError) as error:
        raise ClusterError(f"no command can be run in the pod {pod}: {error}") from error


def start(cluster: Cluster, pod: str, container: str, script: str, *arguments: str, stdin: bool) -> Any:
    """Opens the exec in a thread: the client itself would wait for ever if the API server does not answer."""
    opened: SimpleQueue[Any] = SimpleQueue()
    command = ["sh", "-c", script, "sh", *arguments]

    def run(configuration: Configuration) -> None:
        try:
            opened.put(_open(configuration, cluster.namespace, pod, container, command, stdin=stdin))
        except Exception as error:  # noqa: BLE001 - raised in the waiting thread
            opened.put(error)

    with in_files(cluster.client.configuration) as configuration:
        threading.Thread(target=run, args=[configuration], name=f"exec in {pod}", daemon=True).start()
        deadline = time.monotonic() + STALL
        while time.monotonic() < deadline:
            cluster.interrupts.check()
            with suppress(Empty):
                found = opened.get(timeout=LOOK)
                if isinstance(found, Exception):
                    raise found
                return found
    raise ClusterError(f"the API server did not open a connection to the pod {pod} for {STALL:.0f} s")


def _open(
    configuration: Configuration, namespace: str, pod: str, container: str, command: list[str], *, stdin: bool
) -> Any:
    # A separate client: `stream` replaces the client's way of calling, while other threads use ours.
    core: Any = api.CoreV1Api(ApiClient(configuration))
    connection: Any = stream(
        core.connect_get_namespaced_pod_exec,
        pod,
        namespace,
        container=container,
        command=command,
        stdin=stdin,
        stdout=True,
        stderr=True,
        tty=False,
        binary=True,
        _preload_content=False,
    )
    connection.sock.settimeout(STALL)
    return connection


def finish(cluster: Cluster, connection: Any, *, refusal: str = "the pod refused") -> str:
    """Waits for the command's end; returns its standard output. Raises `ClusterError` if it did not succeed."""
    deadline = time.monotonic() + STALL
    while connection.is_open() and time.monotonic() < deadline:
        cluster.interrupts.check()
        connection.update(timeout=LOOK)
    if connection.is_open():
        raise ClusterError(f"the pod did not answer for {STALL:.0f} s")
    said, complained = ((connection.read_channel(channel) or b"").decode(errors="replace") for channel in (1, 2))
    words = f"{said}{complained}".strip()
    try:
        status = connection.returncode
    except (TypeError, KeyError, IndexError, ValueError):
        raise ClusterError(f"the connection to the pod was lost. {words}".strip()) from None
    if status:
        raise ClusterError(f"{refusal}: {words or f'status {status}'}")
    return said
