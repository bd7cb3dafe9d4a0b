"""The pods behind the cluster's Services, as they are now or as a proxy sees them that learns of changes later."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from kubernetes.dynamic import DynamicClient
from starlette.responses import Response

from rehearsal.background import repeated

_EVERY: Final = 0.05
"""Seconds between two polls of the cluster."""


class Backends:
    """The endpoints of Services as they are now."""

    def __init__(self, cluster: DynamicClient) -> None:
        self._slices = cluster.resources.get(api_version="discovery.k8s.io/v1", kind="EndpointSlice")

    def answer(self, name: str, namespace: str, *, unready: int) -> Response:
        """200 if a pod of the Service is ready, else `unready`."""
        return Response(status_code=200 if self._ready(name, namespace) else unready)

    def _ready(self, name: str, namespace: str) -> list[str]:
        """Names of the Service's ready pods."""
        listed = self._slices.get(namespace=namespace, label_selector=f"kubernetes.io/service-name={name}")
        endpoints = [one for each in listed.to_dict()["items"] for one in each.get("endpoints") or []]
        return [(one.get("targetRef") or {}).get("name", "") for one in endpoints if one["conditions"].get("ready")]


class LaggingBackends(Backends):
    """The endpoints of one Service; the proxy learns of each change `lag` seconds late.

    The proxy sends each request to one of the endpoints that it knows. A container gets SIGTERM after the pause of its
    preStop hook, and is assumed to answer nobody from then on, like a server that closes its port. kwok's pods vanish
    when they are deleted; this class still counts the container for as long as a kubelet would run it.
    """

    def __init__(self, cluster: DynamicClient, name: str, namespace: str, *, lag: float) -> None:
        super().__init__(cluster)
        self._pods = cluster.resources.get(api_version="v1", kind="Pod")
        self._name, self._namespace, self._lag = name, namespace, lag
        self._seen: deque[tuple[float, list[str]]] = deque(maxlen=10_000)
        self._pauses: dict[str, float] = {}
        self._ends: dict[str, float] = {}
        self._turn = itertools.count()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Polls the cluster for the duration of the context."""
        self._look()
        with repeated(self._look, every=_EVERY):
            yield

    def _look(self) -> None:
        now = time.monotonic()
        self._seen.append((now, self._ready(self._name, self._namespace)))
        alive = {}
        for pod in self._pods.get(namespace=self._namespace).to_dict()["items"]:
            if "deletionTimestamp" not in pod["metadata"]:
                alive[pod["metadata"]["name"]] = _pause(pod)
        for gone in self._pauses.keys() - alive.keys():
            self._ends.setdefault(gone, now + self._pauses[gone])
        self._pauses |= alive

    def answer(self, name: str, namespace: str, *, unready: int) -> Response:
        """200 from a container that runs; 502 if the proxy sends the request to one that has ended."""
        now = time.monotonic()
        known = next((pods for when, pods in reversed(list(self._seen)) if when <= now - self._lag), self._seen[0][1])
        if (name, namespace) != (self._name, self._namespace) or not known:
            return Response(status_code=unready)
        pod = known[next(self._turn) % len(known)]
        return Response(status_code=200 if now < self._ends.get(pod, now + 1) else 502)


def _pause(pod: Any) -> float:
    """Seconds that the pod's first container continues to serve after the pod is deleted."""
    hook = (pod["spec"]["containers"][0].get("lifecycle") or {}).get("preStop") or {}
    return float((hook.get("sleep") or {}).get("seconds", 0))
