"""Starts the app again after an operation that stopped it, or says how to do that manually."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ops.kube.cluster import Cluster, ClusterError
from ops.terminal import Terminal


def start_app(cluster: Cluster, terminal: Terminal, start: Callable[[], str], *, replicas: int) -> None:
    """Runs `start`, usually `App.start`, and prints its message about the app. Ctrl-C waits for its end.

    Raises `ClusterError` with the command that scales the app to `replicas` manually.
    """
    with cluster.interrupts.deferred(), terminal.step("starting the app"):
        try:
            terminal.say(start())
        except ClusterError as error:
            raise ClusterError(
                f"The app: {error}\nIf it does not run, run this command again, or: kubectl -n {cluster.namespace} "
                f"scale deployment/{cluster.names.app} --replicas={replicas}"
            ) from error


@contextmanager
def or_else(start: Callable[[], None]) -> Iterator[None]:
    """Calls `start` if the block fails or is interrupted, and raises the block's error again.

    Raises `ClusterError` with both messages if `start` raises one, too.
    """
    try:
        yield
    except BaseException as error:
        try:
            start()
        except ClusterError as second:
            raise ClusterError(f"{error}\n{second}") from error
        raise
