"""The reason for a Job's failure is read from the final status of its pods."""

from __future__ import annotations

from collections.abc import Generator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes.client import (
    V1ContainerState,
    V1ContainerStateTerminated,
    V1ContainerStatus,
    V1Job,
    V1JobCondition,
    V1JobStatus,
    V1ObjectMeta,
    V1Pod,
    V1PodStatus,
)

from ops.kube import job as module
from ops.kube.cluster import Cluster
from ops.kube.job import Job, JobFailedError

LINE = "2026-02-05T03:00:00Z FAILED: the volume is full"


def pod(phase: str, *, status: int | None = None) -> V1Pod:
    terminated = V1ContainerStateTerminated(exit_code=status, reason="Error") if status is not None else None
    container = V1ContainerStatus(
        name="c", image="i", image_id="", ready=False, restart_count=0, state=V1ContainerState(terminated=terminated)
    )
    return V1Pod(metadata=V1ObjectMeta(name="pod"), status=V1PodStatus(phase=phase, container_statuses=[container]))


class FakeCluster:
    """Jobs and pods are watched separately: when the Job's failure shows, the pod still shows its earlier status."""

    def __init__(self) -> None:
        condition = V1JobCondition(type="Failed", status="True", reason="BackoffLimitExceeded", message="exit code 1")
        self.failed = V1Job(metadata=V1ObjectMeta(name="job"), status=V1JobStatus(conditions=[condition]))

    def job(self, _name: str) -> Any:
        return SimpleNamespace(listed=lambda _: [self.failed])

    def pods_of(self, _name: str) -> Any:
        return SimpleNamespace(listed=lambda _: [pod("Failed", status=1)])

    def snapshots(self, *_: Any, **__: Any) -> Generator[tuple[list[Any], ...], None, None]:
        yield [self.failed], [pod("Running")]


def test_the_final_status_of_a_pod_is_fetched_if_the_watch_has_not_shown_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log = SimpleNamespace(lines=[LINE], finish=lambda: None)
    monkeypatch.setattr(module, "PodLog", lambda *_: log)
    with pytest.raises(JobFailedError, match="the volume is full"):
        Job(cluster=cast(Cluster, FakeCluster()), name="job", say=lambda _: None).follow()
