"""The stack's namespace through the official Kubernetes client: its APIs, and how to wait for changes in it."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any, Final, Self

from kubernetes import client as api  # loads each API on first use; loading all of them took half of the start of ops
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.watch import Watch
from urllib3.exceptions import HTTPError

from settings.names import PROGRAM, Names

REQUEST_TIMEOUT: Final = (10, 70)
"""Seconds to connect, and between two chunks of an answer; a watch ends by itself after `_WATCH` seconds."""
OUTAGE: Final = 120.0
"""Seconds for which the API server may be down, restarting or moving, before a wait gives up."""
_WATCH: Final = 60
_AGAIN: Final = 1.0  # seconds between two attempts to reach an API server that is down


OPS: Final = f"{PROGRAM}-ops"
"""Field manager for changes that an `up` must not undo: it stops at a conflict with this name."""
PROVIDER: Final = "pulumi-kubernetes"
"""Field manager whose fields the provider takes over by itself, so that the next `up` finds no conflict."""
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404


class ClusterError(Exception):
    """The cluster refused something, or did not answer; the message says what that means for the user."""


class StoppedError(ClusterError):
    """A signal asked the command to stop; `signal` says which."""

    def __init__(self, received: signal.Signals) -> None:
        super().__init__(f"stopped by {received.name}")
        self.signal = received


class Interrupts:
    """While entered, SIGINT, SIGTERM and SIGHUP stop the work at its next `check`, never in the middle of a step.

    A signal that the process ignores stays ignored, as `nohup` intends.
    """

    _SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.wake: Callable[[], None] = lambda: None
        """Ends a wait, so that the waiting code calls `check`."""
        self._deaf = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        heard = [number for number in self._SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raises `StoppedError` if a signal has arrived, except inside `deferred`."""
        if self.received is not None and not self._deaf:
            raise StoppedError(self.received)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """For work that must finish before the command ends: signals are noted, and stop nothing."""
        before, self._deaf = self._deaf, True
        try:
            yield
        finally:
            self._deaf = before

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self.wake()


Snapshots = Generator[tuple[list[Any], ...], None, None]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Objects to watch together; `selector` has `field_selector` or `label_selector`."""

    listing: Callable[..., Any]
    selector: Mapping[str, str]

    def listed(self, cluster: Cluster) -> list[Any]:
        """The objects now; repeats the request while the API server is down. Raises `ClusterError`."""
        request = partial(self.listing, cluster.namespace, **self.selector, _request_timeout=REQUEST_TIMEOUT)
        return list(cluster.persistently(request).items)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The APIs for one namespace, as Any: the library's types make every field optional, which is no help."""

    client: ApiClient
    names: Names
    """The stack's names."""
    interrupts: Interrupts
    accepted: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)
    """Whether the API server has accepted this client's credentials."""

    @property
    def namespace(self) -> str:
        """The stack's namespace."""
        return self.names.namespace

    @property
    def core(self) -> Any:
        """Pods, claims, and the other kinds without an API group."""
        return api.CoreV1Api(self.client)

    @property
    def apps(self) -> Any:
        """Deployments."""
        return api.AppsV1Api(self.client)

    @property
    def batch(self) -> Any:
        """Jobs and CronJobs."""
        return api.BatchV1Api(self.client)

    def custom_object(self, api_version: str, resource: str, name: str) -> dict[str, Any] | None:
        """An object of a kind for which the library has no model, e.g. one of `clusters`; None if it does not exist."""
        objects: Any = api.CustomObjectsApi(self.client)
        read = partial(
            objects.get_namespaced_custom_object,
            *api_version.split("/"),
            self.namespace,
            resource,
            name,
            _request_timeout=REQUEST_TIMEOUT,
        )
        found: dict[str, Any] | None = self.persistently(partial(unless_gone, read))
        return found

    def job(self, name: str) -> Selection:
        """One Job."""
        return Selection(listing=self.batch.list_namespaced_job, selector={"field_selector": f"metadata.name={name}"})

    def pods(self, labels: Mapping[str, str]) -> Selection:
        """The pods with these labels."""
        wanted = ",".join(f"{key}={value}" for key, value in labels.items())
        return Selection(listing=self.core.list_namespaced_pod, selector={"label_selector": wanted})

    def pods_of(self, job: str) -> Selection:
        """The pods of a Job."""
        return self.pods({"batch.kubernetes.io/job-name": job})

    def deployment(self, name: str) -> Selection:
        """One Deployment."""
        selector = {"field_selector": f"metadata.name={name}"}
        return Selection(listing=self.apps.list_namespaced_deployment, selector=selector)

    def snapshots(self, *selections: Selection, timeout: float | None = None) -> Snapshots:
        """Yields the objects of each selection, again at every change of one of them.

        Raises `TimeoutError` after `timeout` seconds, `StoppedError`, and `ClusterError` if the API server has not
        answered for `OUTAGE` seconds or has refused a request.
        """
        deadline = time.monotonic() + timeout if timeout is not None else None
        queue: SimpleQueue[tuple[int, list[Any]] | ClusterError | None] = SimpleQueue()
        stopped = threading.Event()
        for index, selection in enumerate(selections):
            arguments = (index, selection, queue, stopped)
            threading.Thread(target=self._watch, args=arguments, name="watch", daemon=True).start()
        seen: dict[int, list[Any]] = {}
        self.interrupts.wake = lambda: queue.put(None)
        try:
            while True:
                self.interrupts.check()
                try:
                    news = queue.get(timeout=None if deadline is None else max(0.0, deadline - time.monotonic()))
                except Empty:
                    raise TimeoutError from None
                if isinstance(news, ClusterError):
                    raise news
                if news is not None:
                    seen[news[0]] = news[1]
                    if len(seen) == len(selections):
                        yield tuple(seen[index] for index in range(len(selections)))
        finally:
            self.interrupts.wake = lambda: None
            stopped.set()

    def until(self, *selections: Selection, done: Callable[..., bool], timeout: float) -> bool:
        """Waits until `done` is true for the objects of each selection; False after `timeout` seconds."""
        try:
            with closing(self.snapshots(*selections, timeout=timeout)) as snapshots:
                return any(done(*found) for found in snapshots)
        except TimeoutError:
            return False

    def persistently(self, action: Callable[[], Any]) -> Any:
        """What `action` returns; calls it again while the API server is down. Signals do not stop it."""
        deadline = time.monotonic() + OUTAGE
        while True:
            try:
                answer = action()
            except (HTTPError, ApiException) as error:
                if not self._is_passing(error) or time.monotonic() > deadline:
                    raise ClusterError(error_message(error)) from error
                time.sleep(_AGAIN)
            else:
                self.accepted.set()
                return answer

    def _is_passing(self, error: Exception) -> bool:
        """As `is_passing`. For some seconds after its start, an API server with OIDC refuses every token
        (kubernetes/kubernetes#65785), so one that was accepted before is offered again."""
        refused = isinstance(error, ApiException) and error.status == _UNAUTHORIZED
        return is_passing(error) or (refused and self.accepted.is_set())

    def _watch(
        self,
        index: int,
        selection: Selection,
        queue: SimpleQueue[tuple[int, list[Any]] | ClusterError | None],
        stopped: threading.Event,
    ) -> None:
        """Lists the objects, watches them from there, and starts over when the watch ends or the connection is lost."""
        answered = time.monotonic()
        while not stopped.is_set():
            try:
                listed = selection.listing(self.namespace, **selection.selector, _request_timeout=REQUEST_TIMEOUT)
                self.accepted.set()
                found = {one.metadata.name: one for one in listed.items}
                queue.put((index, list(found.values())))
                events = Watch().stream(
                    selection.listing,
                    self.namespace,
                    **selection.selector,
                    resource_version=listed.metadata.resource_version,
                    timeout_seconds=_WATCH,
                    _request_timeout=REQUEST_TIMEOUT,
                )
                answered = time.monotonic()
                for event in events:
                    if stopped.is_set():
                        return
                    answered = time.monotonic()
                    found.pop(event["object"].metadata.name, None)
                    if event["type"] != "DELETED":
                        found[event["object"].metadata.name] = event["object"]
                    queue.put((index, list(found.values())))
                answered = time.monotonic()
            except (HTTPError, ApiException, OSError) as error:
                if not self._is_passing(error) or time.monotonic() - answered > OUTAGE:
                    queue.put(ClusterError(error_message(error)))
                    return
                stopped.wait(_AGAIN)
            except Exception as error:  # noqa: BLE001 - a thread that died silently would leave its reader waiting
                queue.put(ClusterError(f"the cluster's answer cannot be read: {error}"))
                return


def unless_gone(request: Callable[[], Any]) -> Any:
    """What the request returns; None if its object does not exist."""
    try:
        return request()
    except ApiException as error:
        if error.status != _NOT_FOUND:
            raise
        return None


def is_passing(error: Exception) -> bool:
    """Whether the same request may soon succeed: no connection, or an overloaded or restarting API server."""
    return not isinstance(error, ApiException) or error.status in (None, 0, 410, 429) or error.status >= 500


def reason_given(body: bytes | str | None) -> str:
    """A colon and the message of a Kubernetes Status; if the body is a page, says that it is not JSON."""
    try:
        return f": {json.loads(body or '{}')['message']}"
    except (KeyError, TypeError):
        return ""
    except ValueError:
        return ", which is not JSON: something else answers in the API server's place"


def error_message(error: Exception) -> str:
    """The API server's message, or that it does not answer; after a refused login, what to do."""
    if isinstance(error, ApiException):
        said = f"the API server answered {error.status} {error.reason}{reason_given(error.body)}"
        fix = ". The credentials in the kubeconfig have expired, or are for another cluster: log in again"
        return said + (fix if error.status == _UNAUTHORIZED else "")
    return f"the API server does not answer: {error}"
