"""When objects count as ready, and what is reported about those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.plugins.kubernetes import readiness
from rehearsal.plugins.kubernetes.objects import Object


def conditions(**status: str) -> list[Object]:
    return [
        {"type": type_, "status": value, "reason": "Because", "message": "of it"} for type_, value in status.items()
    ]


def deployment(revision: str, **status: str) -> Object:
    annotations = {"deployment.kubernetes.io/revision": revision}
    found = conditions(**status)
    for condition in found:
        if condition["type"] == "Progressing" and condition["status"] == "True":
            condition["reason"] = "NewReplicaSetAvailable"
    return {"metadata": {"name": "app", "uid": "d", "annotations": annotations}, "status": {"conditions": found}}


def replica_set(revision: str, ready: int, wanted: int = 1) -> Object:
    annotations = {"deployment.kubernetes.io/revision": revision}
    metadata = {"uid": f"rs{revision}", "ownerReferences": [{"uid": "d"}], "annotations": annotations}
    return {"metadata": metadata, "spec": {"replicas": wanted}, "status": {"readyReplicas": ready}}


def test_a_deployment_is_ready_when_it_is_available_and_its_new_replica_set_is_ready() -> None:
    rolled_out = deployment("2", Available="True", Progressing="True")
    assert readiness.deployment(rolled_out, [replica_set("1", 0, 0), replica_set("2", 1)], [], []) == []


def test_the_old_replica_set_does_not_make_a_deployment_ready() -> None:
    rolling = deployment("2", Available="True", Progressing="True")
    assert readiness.deployment(rolling, [replica_set("1", 1), replica_set("2", 0)], [], []) == [
        "Attempted to roll forward to new ReplicaSet, but minimum number of Pods did not become live"
    ]


def test_a_failing_pod_of_the_new_replica_set_is_named_with_its_reason() -> None:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}
    pod = {
        "metadata": {"name": "app-1", "namespace": "dev", "ownerReferences": [{"uid": "rs1"}]},
        "status": {"conditions": conditions(Ready="False"), "containerStatuses": [{"name": "app", **waiting}]},
    }
    reasons = readiness.deployment(deployment("1", Available="False"), [replica_set("1", 0)], [pod], [])
    assert reasons == [
        "[Because] of it",
        "Minimum number of live Pods was not attained",
        "[Pod dev/app-1]: of it -- [ImagePullBackOff] Back-off pulling image",
    ]


def test_a_deployment_waits_for_the_claims_it_uses_and_for_no_others() -> None:
    app = deployment("1", Available="True", Progressing="True")
    app["spec"] = {"template": {"spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "used"}}]}}}
    claims = [{"metadata": {"name": name}, "status": {"phase": "Pending"}} for name in ("used", "other")]
    assert readiness.deployment(app, [replica_set("1", 1)], [], claims) == [
        'Failed to bind PersistentVolumeClaim(s): "used"'
    ]


def stateful_set(**status: Any) -> Object:
    return {"metadata": {"uid": "s", "generation": 1}, "spec": {"replicas": 1}, "status": status}


def test_a_stateful_set_is_ready_when_all_replicas_are_and_none_is_of_an_old_revision() -> None:
    counts = {"replicas": 1, "readyReplicas": 1, "currentReplicas": 1}
    ready = stateful_set(**counts, currentRevision="a", updateRevision="a")
    assert readiness.stateful_set(ready, []) == []
    rolling = stateful_set(**counts, currentRevision="a", updateRevision="b")
    assert readiness.stateful_set(rolling, []) == [
        'StatefulSet controller failed to advance from revision "a" to revision "b"'
    ]


def test_a_stateful_set_without_any_pod_is_not_ready() -> None:
    assert "0 out of 1 replicas succeeded readiness checks" in readiness.stateful_set(stateful_set(), [])


@pytest.mark.parametrize(
    ("phase", "mode", "ready"),
    [
        ("Bound", "Immediate", True),
        ("Pending", "Immediate", False),
        ("Pending", "WaitForFirstConsumer", True),
        ("Bound", "WaitForFirstConsumer", True),
        ("Lost", "WaitForFirstConsumer", False),
    ],
)
def test_a_claim_is_ready_when_bound_or_when_it_may_wait_for_its_first_pod(
    phase: str, mode: str, *, ready: bool
) -> None:
    claim = {"metadata": {"name": "data"}, "status": {"phase": phase}}
    assert (readiness.claim(claim, {"volumeBindingMode": mode}) == []) is ready


def service(**spec: Any) -> Object:
    return {"spec": {"selector": {"app": "a"}, "clusterIP": "10.0.0.1", **spec}}


def test_a_service_waits_for_unready_pods_but_not_for_missing_ones() -> None:
    assert readiness.service(service(), {"subsets": []}) == []
    assert readiness.service(service(), {"subsets": [{"addresses": [{}]}]}) == []
    assert readiness.service(service(), {"subsets": [{"notReadyAddresses": [{}]}]}) != []


@pytest.mark.parametrize("spec", [{"clusterIP": "None"}, {"selector": None}, {"type": "ExternalName"}])
def test_a_service_that_is_headless_external_or_selects_nothing_waits_for_nothing(spec: dict[str, Any]) -> None:
    assert readiness.service(service(**spec), None) == []


def test_a_job_that_has_used_up_its_attempts_can_no_longer_succeed() -> None:
    failed = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]
    job = {"metadata": {"name": "migrate"}, "status": {"conditions": failed}}
    assert readiness.job_failure(job) == "[BackoffLimitExceeded] too often"
    assert readiness.job(job, []) == ["[BackoffLimitExceeded] too often"]


def test_a_token_secret_is_ready_when_the_controller_has_filled_it() -> None:
    token = {"metadata": {"name": "t"}, "type": "kubernetes.io/service-account-token"}
    assert readiness.secret(token) != []
    assert readiness.secret({**token, "data": {"token": "eA=="}}) == []
    assert readiness.secret({"metadata": {"name": "t"}, "type": "Opaque"}) == []


def test_a_quota_is_ready_when_its_controller_has_taken_it_over() -> None:
    quota = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "5"}}}
    assert readiness.quota(quota) != []
    assert readiness.quota({**quota, "status": {"hard": {"pods": "5"}}}) == []
