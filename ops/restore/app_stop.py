"""Stops the app for a restore, and starts it again as it was, even from another run than the one that stopped it.

The request that stops the app also writes the number of replicas into an annotation of the Deployment.

There are two field managers, on purpose. Stopping uses `invoicetron-ops`: an `up` in the middle of a restore would
start the app on data that is about to be replaced, and fails with a conflict with that name instead. Starting uses
`pulumi-kubernetes`, the name with which the provider creates objects, and from which it takes fields over by itself. So
the field is the program's again, and no later `up` finds a conflict.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from kubernetes.client.exceptions import ApiException

from lookups.database_claims import STOPPED_BY
from ops.backup import cron_job
from ops.kube.cluster import OPS, PROVIDER, REQUEST_TIMEOUT, Cluster, ClusterError
from ops.kube.job import unfinished
from settings.commands import pulumi_command
from settings.names import PROGRAM

REPLICAS: Final = f"ops.{PROGRAM}/replicas"
"""Annotation: how many replicas the app had before it was stopped."""
READY: Final = f"ops.{PROGRAM}/was-ready"
"""Annotation: whether the app was ready before; starting does not wait for an app that has no image yet."""

_STOP_PATIENCE: Final = 120.0  # seconds; the kubelet kills a pod 30 s after SIGTERM
_START_PATIENCE: Final = 300.0  # seconds; an image may have to be pulled again


def running_writer(cluster: Cluster) -> str | None:
    """A message about the running restore or migration, which stopping the app does not end; None if none runs."""
    for what, name in (("restore", cluster.names.restore), ("migration", cluster.names.migration)):
        if running := unfinished(cluster, cron_job(cluster, name)):
            return f"a {what} runs: wait for the end of {', '.join(running)}"
    return None


@dataclass(frozen=True, kw_only=True)
class PreviousState:
    """The app as it was before the first run that stopped it."""

    replicas: int
    ready: bool
    remembered: bool
    """Whether the state is from an earlier run, which did not start the app again."""

    @property
    def size(self) -> str:
        """The number of replicas, for messages."""
        return "1 replica" if self.replicas == 1 else f"{self.replicas} replicas"


def previous_state(deployment: Any) -> PreviousState:
    """The state to start the app with, from its current Deployment."""
    annotations: Mapping[str, str] = deployment.metadata.annotations or {}
    if not deployment.spec.replicas and annotations.get(REPLICAS, "").isdigit():
        return PreviousState(
            replicas=int(annotations[REPLICAS]), ready=annotations.get(READY) != "false", remembered=True
        )
    available = deployment.status.available_replicas or 0
    return PreviousState(
        replicas=deployment.spec.replicas, ready=available >= deployment.spec.replicas, remembered=False
    )


@dataclass(frozen=True, kw_only=True)
class App:
    """The app's Deployment; `run` identifies this run among those that may stop it."""

    cluster: Cluster
    run: str

    def before(self) -> PreviousState:
        """The app's state now, or before an earlier run stopped it; raises `ClusterError` if there is no app."""
        return previous_state(self._read())

    def stop(self) -> PreviousState:
        """Scales the app to 0, waits for its pods to end and returns its former state; this run now owns it."""
        deployment = self.cluster.persistently(self._read)
        was = previous_state(deployment)
        annotations = {REPLICAS: str(was.replicas), READY: str(was.ready).lower(), STOPPED_BY: self.run}
        body = {"metadata": {"annotations": annotations}, "spec": {"replicas": 0}}
        self.cluster.persistently(partial(self._patch, body, manager=OPS))
        pods = self.cluster.pods(deployment.spec.selector.match_labels)
        # An evicted pod stays until somebody deletes it, so that people can inspect it.
        if not self.cluster.until(pods, done=lambda found: all(map(_has_ended, found)), timeout=_STOP_PATIENCE):
            raise ClusterError(f"the app's pods have not ended; see: kubectl -n {self.cluster.namespace} get pods")
        return was

    def stopped_by(self) -> str | None:
        """The run that stopped the app and has not started it again; None if the app is not stopped."""
        annotations: Mapping[str, str] = self._read().metadata.annotations or {}
        return annotations.get(STOPPED_BY)

    def is_ours(self) -> bool:
        """Whether this run was the last to stop the app, and nobody has started it since."""
        return self._is_ours(self.cluster.persistently(self._read))

    def start(self) -> str:
        """Scales the app to its former replicas; if it was ready before, waits until it is. Returns a message.

        Raises `ClusterError` if the app cannot be started or does not become ready.
        """
        deployment = self.cluster.persistently(self._read)
        was, tried = previous_state(deployment), False
        while self._is_ours(deployment):
            # Only in the version that was read: another run may stop the app at this moment.
            metadata = {
                "annotations": dict.fromkeys((REPLICAS, READY, STOPPED_BY)),
                "resourceVersion": deployment.metadata.resource_version,
            }
            body = {"metadata": metadata, "spec": {"replicas": was.replicas}}
            if self.cluster.persistently(partial(self._start, body)):
                break
            deployment, tried = self.cluster.persistently(self._read), True
        else:
            # An attempt whose answer was lost may still have started it.
            if not tried or STOPPED_BY in (deployment.metadata.annotations or {}):
                return "Leaving the app as it is: another run has stopped it since, or somebody has started it."
        if not was.replicas or not was.ready:
            return f"The app is as it was: {was.size}, not ready."
        looked_at = (
            self.cluster.deployment(self.cluster.names.app),
            self.cluster.pods(deployment.spec.selector.match_labels),
        )
        if not self.cluster.until(
            *looked_at, done=lambda *found: running(*found) >= was.replicas, timeout=_START_PATIENCE
        ):
            raise ClusterError(
                f"the app was started, but is not ready after {_START_PATIENCE:.0f} s; see: "
                f"kubectl -n {self.cluster.namespace} rollout status deployment/{self.cluster.names.app}"
            )
        return f"The app runs again: {was.replicas} of {was.replicas} replicas are ready."

    def _is_ours(self, deployment: Any) -> bool:
        return (deployment.metadata.annotations or {}).get(STOPPED_BY) == self.run

    def _start(self, body: dict[str, Any]) -> bool:
        """Patches the Deployment; False if it has changed since it was read."""
        try:
            self._patch(body, manager=PROVIDER)
        except ApiException as error:
            if error.status != 409:
                raise
            return False
        return True

    def _read(self) -> Any:
        try:
            return self.cluster.apps.read_namespaced_deployment(
                self.cluster.names.app, self.cluster.namespace, _request_timeout=REQUEST_TIMEOUT
            )
        except ApiException as error:
            if error.status != 404:
                raise
            raise ClusterError(
                f"there is no Deployment {self.cluster.names.app} in {self.cluster.namespace}: run "
                f"`{pulumi_command('up', self.cluster.names.stack)}` first"
            ) from error

    def _patch(self, body: dict[str, Any], *, manager: str) -> None:
        self.cluster.apps.patch_namespaced_deployment(
            self.cluster.names.app,
            self.cluster.namespace,
            body,
            field_manager=manager,
            _request_timeout=REQUEST_TIMEOUT,
        )


def _has_ended(pod: Any) -> bool:
    return pod.status.phase in {"Succeeded", "Failed"}


def running(deployments: Iterable[Any], pods: Iterable[Any]) -> int:
    """How many replicas run, by both the Deployment's status and the pods.

    If the app is stopped and started at once, the status still counts a terminating pod for a moment. And the pods
    alone may be those that a change, which the controllers have not seen yet, is about to end.
    """
    available = [
        one.status.available_replicas or 0
        for one in deployments
        if (one.status.observed_generation or 0) >= one.metadata.generation
    ]
    ready = [
        pod
        for pod in pods
        if pod.metadata.deletion_timestamp is None
        and any(one.type == "Ready" and one.status == "True" for one in pod.status.conditions or [])
    ]
    return min(sum(available), len(ready))
