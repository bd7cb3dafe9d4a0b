"""Prints the log of a pod's one container, line by line, while it is written."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Final

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from ops.kube.cluster import REQUEST_TIMEOUT, Cluster

_SILENCE: Final = 3600  # seconds between two lines; none of our Jobs runs longer


class PodLog:
    """Follows the log from its creation; `finish` prints whatever that has missed, however the connection broke."""

    def __init__(self, cluster: Cluster, pod: str, say: Callable[[str], None]) -> None:
        self.lines: list[str] = []
        self._cluster, self._pod, self._say = cluster, pod, say
        self._lock = threading.Lock()
        self._finished = False
        threading.Thread(target=self._follow, name=f"log of {pod}", daemon=True).start()

    def finish(self) -> None:
        """Prints the rest of the log; call it once the container has ended."""
        with self._lock:
            self._finished = True
            # If the pod or its node is gone, the lines so far have to do.
            with contextlib.suppress(HTTPError, ApiException):
                whole: str = self._read(follow=False).data.decode(errors="replace")
                for line in whole.splitlines()[len(self.lines) :]:
                    self._add(line)

    def _follow(self) -> None:
        # A broken connection only ends this thread: `finish` reads the rest.
        with contextlib.suppress(HTTPError, ApiException, OSError):
            rest = b""
            for piece in self._read(follow=True).stream(decode_content=True):
                *lines, rest = (rest + piece).split(b"\n")
                with self._lock:
                    if self._finished:
                        return
                    for line in lines:
                        self._add(line.decode(errors="replace"))

    def _read(self, *, follow: bool) -> Any:
        return self._cluster.core.read_namespaced_pod_log(
            self._pod,
            self._cluster.namespace,
            follow=follow,
            _preload_content=False,
            _request_timeout=(REQUEST_TIMEOUT[0], _SILENCE) if follow else REQUEST_TIMEOUT,
        )

    def _add(self, line: str) -> None:
        self.lines.append(line)
        self._say(line)


def last_words(lines: list[str]) -> str:
    """Why a script of `components/scripts` failed: its last FAILED line and what follows, or else its last line."""
    failures = [index for index, line in enumerate(lines) if " FAILED: " in line]
    if not failures:
        return lines[-1] if lines else "it left no log"
    first, *more = lines[failures[-1] :]
    return "\n".join([first.partition(" FAILED: ")[2], *more])
