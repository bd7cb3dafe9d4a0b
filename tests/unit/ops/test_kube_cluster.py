"""An API server that restarts: which of its refusals pass by themselves, and which end a command."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from kubernetes.client import ApiClient
from kubernetes.client.exceptions import ApiException

from ops.kube import cluster as module
from ops.kube.cluster import Cluster, ClusterError, Interrupts, Selection, error_message
from tests.stacks import DEV

UNAUTHORIZED = ApiException(status=401, reason="Unauthorized")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(module, "_AGAIN", 0.0)
    return Cluster(client=ApiClient(), names=DEV, interrupts=Interrupts())


def test_a_token_that_was_accepted_before_is_offered_again(cluster: Cluster) -> None:
    assert cluster.persistently(lambda: "yes") == "yes"
    assert cluster.persistently(mock.Mock(side_effect=[UNAUTHORIZED, UNAUTHORIZED, "yes"])) == "yes"


def test_a_token_that_was_never_accepted_is_reported_at_once(cluster: Cluster) -> None:
    asked = mock.Mock(side_effect=[UNAUTHORIZED, "yes"])
    with pytest.raises(ClusterError, match="401 Unauthorized"):
        cluster.persistently(asked)
    assert asked.call_count == 1


def test_a_token_that_has_expired_is_reported_in_the_end(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.persistently(lambda: "yes")
    monkeypatch.setattr(module, "OUTAGE", 0.0)
    with pytest.raises(ClusterError, match="401 Unauthorized"):
        cluster.persistently(mock.Mock(side_effect=UNAUTHORIZED))


@pytest.mark.parametrize(("status", "told"), [(401, True), (403, False)])
def test_only_a_refused_login_tells_the_user_to_log_in(status: int, told: bool) -> None:
    assert ("log in again" in error_message(ApiException(status=status))) == told


@pytest.mark.parametrize("status", [403, 404, 422])
def test_other_refusals_end_the_wait_at_once(cluster: Cluster, status: int) -> None:
    cluster.persistently(lambda: "yes")
    with pytest.raises(ClusterError, match=str(status)):
        cluster.persistently(mock.Mock(side_effect=[ApiException(status=status), "yes"]))


@pytest.mark.parametrize("before", [True, False], ids=["accepted before", "never accepted"])
def test_a_watch_begins_again_after_a_restart_unless_the_token_was_never_accepted(
    cluster: Cluster, before: bool
) -> None:
    listed = SimpleNamespace(items=[], metadata=SimpleNamespace(resource_version="1"))
    answers = iter([*([listed] if before else []), UNAUTHORIZED, UNAUTHORIZED, listed, UNAUTHORIZED])

    def listing(_namespace: str, **_: Any) -> Any:
        """:rtype: V1PodList"""
        answer = next(answers, listed)
        if isinstance(answer, Exception):
            raise answer
        return answer

    snapshots = cluster.snapshots(Selection(listing=listing, selector={}), timeout=10.0)
    if before:
        assert [next(snapshots), next(snapshots)] == [([],), ([],)]
    else:
        with pytest.raises(ClusterError, match="401 Unauthorized"):
            next(snapshots)
    snapshots.close()
