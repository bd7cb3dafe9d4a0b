"""How the app is stopped and started while others manage it, too."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes.client import (
    ApiClient,
    V1Deployment,
    V1DeploymentSpec,
    V1DeploymentStatus,
    V1LabelSelector,
    V1ObjectMeta,
    V1Pod,
    V1PodCondition,
    V1PodStatus,
    V1PodTemplateSpec,
)
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import ProtocolError

from lookups.database_claims import STOPPED_BY
from ops.kube.cluster import Cluster, ClusterError, Interrupts
from ops.restore.app_stop import READY, REPLICAS, App
from tests.stacks import DEV


def pod(phase: str) -> V1Pod:
    ready = V1PodCondition(type="Ready", status=str(phase == "Running"))
    return V1Pod(metadata=V1ObjectMeta(), status=V1PodStatus(phase=phase, conditions=[ready]))


class FakeCluster:
    """A Deployment behind optimistic locking, and the pods that a look finds."""

    names, namespace = DEV, DEV.namespace

    def __init__(self, pods: list[V1Pod], annotations: dict[str, str] | None = None, replicas: int = 1) -> None:
        self.held, self.replicas, self.version, self.found = dict(annotations or {}), replicas, 1, pods
        self.before_patch: Callable[[], None] = lambda: None
        self.apps = SimpleNamespace(
            read_namespaced_deployment=lambda *_, **__: self._read(), patch_namespaced_deployment=self._patch
        )

    def _read(self) -> V1Deployment:
        return V1Deployment(
            metadata=V1ObjectMeta(
                annotations=dict(self.held), resource_version=str(self.version), generation=self.version
            ),
            spec=V1DeploymentSpec(
                replicas=self.replicas, selector=V1LabelSelector(match_labels={}), template=V1PodTemplateSpec()
            ),
            status=V1DeploymentStatus(available_replicas=1, observed_generation=self.version),
        )

    def _patch(self, _name: str, _namespace: str, body: dict[str, Any], **_: Any) -> None:
        self.before_patch()
        if body["metadata"].get("resourceVersion", str(self.version)) != str(self.version):
            raise ApiException(status=409)
        given = body["metadata"]["annotations"]
        self.held = {key: value for key, value in {**self.held, **given}.items() if value is not None}
        self.replicas, self.version = body["spec"]["replicas"], self.version + 1

    def persistently(self, action: Callable[[], Any]) -> Any:
        return Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts()).persistently(action)

    def pods(self, _labels: dict[str, str]) -> list[V1Pod]:
        return self.found

    def deployment(self, _name: str) -> list[V1Deployment]:
        return [self._read()]

    def until(self, *found: list[Any], done: Callable[..., bool], timeout: float) -> bool:
        assert timeout
        return done(*found)


def app(cluster: FakeCluster, run: str = "ours") -> App:
    return App(cluster=cast(Cluster, cluster), run=run)


STOPPED = {REPLICAS: "1", READY: "true", STOPPED_BY: "ours"}


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_an_evicted_pod_that_is_still_listed_does_not_block_the_stop(phase: str) -> None:
    cluster = FakeCluster([pod(phase)])
    assert app(cluster).stop().replicas == 1
    assert (cluster.replicas, cluster.held) == (0, STOPPED)


def test_the_stop_fails_if_a_pod_keeps_running() -> None:
    with pytest.raises(ClusterError, match="the app's pods have not ended"):
        app(FakeCluster([pod("Running")])).stop()


@pytest.mark.parametrize("at", ["read", "patch"])
def test_an_api_server_that_restarts_does_not_end_the_stop(monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    monkeypatch.setattr("ops.kube.cluster._AGAIN", 0.0)
    cluster = FakeCluster([])
    methods = {"read": "read_namespaced_deployment", "patch": "patch_namespaced_deployment"}
    answers = getattr(cluster.apps, methods[at])
    failures = [ProtocolError("Connection aborted.")]

    def request(*given: Any, **options: Any) -> Any:
        if failures:
            raise failures.pop()
        return answers(*given, **options)

    setattr(cluster.apps, methods[at], request)
    assert app(cluster).stop().replicas == 1
    assert (cluster.replicas, cluster.held) == (0, STOPPED)


def test_the_start_restores_the_replicas_and_removes_the_marks_of_the_stop() -> None:
    cluster = FakeCluster([pod("Running")], STOPPED, replicas=0)
    assert app(cluster).start() == "The app runs again: 1 of 1 replicas are ready."
    assert (cluster.replicas, cluster.held) == (1, {})


def test_the_app_stays_stopped_if_another_run_stops_it_during_our_start() -> None:
    cluster = FakeCluster([], STOPPED, replicas=0)

    def other() -> None:
        cluster.before_patch = lambda: None
        cluster.held[STOPPED_BY] = "theirs"
        cluster.version += 1

    cluster.before_patch = other
    assert "another run has stopped it since" in app(cluster).start()
    assert (cluster.replicas, cluster.held[STOPPED_BY]) == (0, "theirs")


def test_a_concurrent_change_does_not_block_the_start() -> None:
    cluster = FakeCluster([pod("Running")], STOPPED, replicas=0)

    def other() -> None:
        cluster.before_patch = lambda: None
        cluster.version += 1

    cluster.before_patch = other
    assert "runs again" in app(cluster).start()


def test_a_start_is_recognised_as_ours_after_its_response_was_lost() -> None:
    cluster = FakeCluster([pod("Running")], STOPPED, replicas=0)

    def lost() -> None:
        cluster.before_patch = lambda: None
        cluster._patch("", "", {"metadata": {"annotations": dict.fromkeys(STOPPED)}, "spec": {"replicas": 1}})

    cluster.before_patch = lost
    assert "runs again" in app(cluster).start()
