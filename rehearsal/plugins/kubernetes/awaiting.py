"""Waits until an object is ready or gone, with the real plugin's time limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from rehearsal.plugins.kubernetes import readiness
from rehearsal.plugins.kubernetes.client import ApiError, Cluster
from rehearsal.plugins.kubernetes.objects import (
    SKIP_AWAIT,
    TIMEOUT_SECONDS,
    WAIT_FOR,
    Kind,
    Name,
    Object,
    annotation,
    is_marked,
    metadata,
    pluck,
)
from rehearsal.plugins.kubernetes.wait_for import WaitForError, expectations

DEFAULT_TIMEOUT: Final = 600.0
"""Seconds that any operation waits, unless a resource's `customTimeouts` or `pulumi.com/timeoutSeconds` differs."""

DEPLOYMENT: Final = Kind("apps/v1", "Deployment")
STATEFUL_SET: Final = Kind("apps/v1", "StatefulSet")
JOB: Final = Kind("batch/v1", "Job")
POD: Final = Kind("v1", "Pod")
SERVICE: Final = Kind("v1", "Service")
CLAIM: Final = Kind("v1", "PersistentVolumeClaim")
VOLUME: Final = Kind("v1", "PersistentVolume")
QUOTA: Final = Kind("v1", "ResourceQuota")
SECRET: Final = Kind("v1", "Secret")
NAMESPACE: Final = Kind("v1", "Namespace")
_REPLICA_SET: Final = Kind("apps/v1", "ReplicaSet")
_ENDPOINTS: Final = Kind("v1", "Endpoints")
_STORAGE_CLASS: Final = Kind("storage.k8s.io/v1", "StorageClass")

_FIXED_LIMITS: Final = {CLAIM: 300.0, VOLUME: 300.0, QUOTA: 60.0, SECRET: 5.0}
"""Seconds to wait for kinds whose timeout no setting changes."""

_CHECKED_ON_READ: Final = frozenset({DEPLOYMENT, STATEFUL_SET, JOB, POD, SERVICE})
"""Kinds that a refresh may report as unhealthy; of all others it only reads the state."""

_SHORTEST: Final = 0.02
"""Seconds between the first two polls."""

_NOT_AWAITED_WHEN_DELETED: Final = frozenset({NAMESPACE, POD, DEPLOYMENT, STATEFUL_SET, JOB})
"""Kinds whose `pulumi.com/skipAwait` also applies to their deletion."""


class NotReadyError(Exception):
    """The object exists, but not in the state that was waited for; `reasons` say what it lacks."""

    def __init__(self, message: str, reasons: list[str]) -> None:
        super().__init__(message)
        self.reasons = reasons


@dataclass(frozen=True, kw_only=True)
class Awaiter:
    """Waits on one cluster until `cancelled` is set.

    The real plugin watches, and so sees at once what happens. This one polls: it looks again after a quarter of the
    time that has passed, and after at most `interval` seconds.

    `settling`: seconds that a Service's endpoints must have been unchanged; because of the real plugin's ten, any
    Service with a selector takes that long.
    """

    cluster: Cluster
    cancelled: threading.Event
    interval: float = 0.2
    settling: float = 10.0
    started: float = field(default_factory=time.monotonic)

    def ready(self, live: Object, inputs: Object, *, timeout: float) -> Object:
        """Returns the live object once it is ready; `timeout` is the resource's own, 0 for none.

        Raises `NotReadyError`, at once if the object can no longer become ready.
        """
        kind = Kind.of(live)
        if is_marked(inputs, SKIP_AWAIT):
            return self._reread(live)
        wanted = annotation(inputs, WAIT_FOR)
        if wanted is not None:
            return self._expected(live, wanted, _limit(inputs, timeout))
        if kind == SERVICE:
            return self._settled(live, _limit(inputs, timeout))
        limit = _FIXED_LIMITS.get(kind) or _limit(inputs, timeout)
        return self._until(live, self._missing, limit)

    def check(self, live: Object, inputs: Object) -> None:
        """Raises `NotReadyError` if a refresh would find the object unhealthy."""
        if is_marked(inputs, SKIP_AWAIT) or Kind.of(live) not in _CHECKED_ON_READ:
            return
        reasons = self._lacks(live)
        if reasons:
            raise NotReadyError(f"Resource '{metadata(live, 'name')}' was created but failed to initialize", reasons)

    def gone(self, kind: Kind, name: Name, inputs: Object, *, timeout: float) -> None:
        """Returns once the object no longer exists. Raises `NotReadyError`."""
        if is_marked(inputs, SKIP_AWAIT) and kind in _NOT_AWAITED_WHEN_DELETED:
            return
        deadline = time.monotonic() + _limit(inputs, timeout)
        while True:
            try:
                live = self.cluster.get(kind, name)
            except ApiError as error:
                if error.is_not_found:
                    return
                raise
            self._pause(live, deadline, _blockers(live), "timed out waiting for the condition")

    def _until(self, live: Object, missing: Callable[[Object], list[str]], limit: float) -> Object:
        deadline = time.monotonic() + limit
        current = live
        while reasons := missing(current):
            message = f"'{metadata(live, 'name')}' timed out waiting to be Ready"
            self._pause(current, deadline, reasons, message)
            current = self._reread(current)
        return current

    def _expected(self, live: Object, wanted: str, limit: float) -> Object:
        try:
            wishes = expectations(wanted)
            deadline = time.monotonic() + limit
            # The real plugin watches all objects of the kind, and waits for ever for one that it may not list.
            self._siblings(live, Kind.of(live))
            current = live
            while unmet := [request.text for request in wishes if not request.is_met(current)]:
                reasons = [f"Waiting for {text}" for text in unmet]
                self._pause(current, deadline, reasons, "timed out waiting for the condition")
                current = self._reread(current)
        except WaitForError as error:
            raise NotReadyError(str(error), []) from error
        return current

    def _settled(self, live: Object, limit: float) -> Object:
        deadline = time.monotonic() + limit
        seen, since = None, time.monotonic()
        while readiness.waits_for_endpoints(live):
            endpoints = self._endpoints(live)
            version = endpoints and metadata(endpoints, "resourceVersion")
            if version != seen:
                seen, since = version, time.monotonic()
            reasons = readiness.service(live, endpoints)
            if not reasons and time.monotonic() - since >= self.settling:
                break
            message = f"'{metadata(live, 'name')}' timed out waiting to be Ready"
            self._pause(live, deadline, reasons, message)
        return self._reread(live)

    def _pause(self, live: Object, deadline: float, reasons: list[str], message: str) -> None:
        if time.monotonic() >= deadline:
            raise NotReadyError(message, reasons)
        if self.cancelled.wait(min(max((time.monotonic() - self.started) / 4, _SHORTEST), self.interval)):
            name = metadata(live, "name")
            raise NotReadyError(f'Resource operation was cancelled for "{name}"', reasons)

    def _missing(self, live: Object) -> list[str]:
        kind = Kind.of(live)
        # A status from before this change would count as ready at once.
        if kind in (DEPLOYMENT, STATEFUL_SET) and not readiness.is_observed(live):
            return [f"{kind.name} controller has not observed generation {metadata(live, 'generation')} yet"]
        reasons = self._lacks(live)
        failed = readiness.job_failure(live) if kind == JOB else None
        if failed is not None:
            raise NotReadyError(f"Resource '{metadata(live, 'name')}' was created but failed to initialize", reasons)
        return reasons

    def _lacks(self, live: Object) -> list[str]:
        kind = Kind.of(live)
        if kind == DEPLOYMENT:
            return readiness.deployment(
                live, self._siblings(live, _REPLICA_SET), self._siblings(live, POD), self._siblings(live, CLAIM)
            )
        if kind == STATEFUL_SET:
            return readiness.stateful_set(live, self._siblings(live, POD))
        if kind == JOB:
            return readiness.job(live, self._siblings(live, POD))
        if kind == SERVICE:
            return readiness.service(live, self._endpoints(live)) if readiness.waits_for_endpoints(live) else []
        if kind == CLAIM:
            return readiness.claim(live, self._storage_class(live))
        alone = {POD: readiness.pod, VOLUME: readiness.volume, QUOTA: readiness.quota, SECRET: readiness.secret}
        return alone[kind](live) if kind in alone else []

    def _siblings(self, live: Object, kind: Kind) -> list[Object]:
        return self.cluster.in_namespace(kind, metadata(live, "namespace"))

    def _endpoints(self, live: Object) -> Object | None:
        return self._found(_ENDPOINTS, Name.of(live))

    def _storage_class(self, live: Object) -> Object | None:
        """None also if the user may not read it; the real plugin then waits for the claim to be bound, too."""
        name = pluck(live, "spec", "storageClassName")
        return self._found(_STORAGE_CLASS, Name("", name), forbidden=True) if name else None

    def _found(self, kind: Kind, name: Name, *, forbidden: bool = False) -> Object | None:
        try:
            return self.cluster.get(kind, name)
        except ApiError as error:
            if error.is_not_found or (forbidden and error.is_forbidden):
                return None
            raise

    def _reread(self, live: Object) -> Object:
        return self.cluster.get(Kind.of(live), Name.of(live))


def _limit(inputs: Object, timeout: float) -> float:
    if timeout:
        return timeout
    seconds = annotation(inputs, TIMEOUT_SECONDS) or ""
    return float(seconds) if seconds.isdecimal() else DEFAULT_TIMEOUT


def _blockers(live: Object) -> list[str]:
    finalizers = metadata(live, "finalizers") or pluck(live, "spec", "finalizers") or []
    return [f"it still exists, held by the finalizers {', '.join(finalizers)}"] if finalizers else ["it still exists"]
