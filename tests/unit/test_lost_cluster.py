"""What CloudNativePG holds of the database, compared with the stack file before the first resource."""

from __future__ import annotations

from typing import Any

import pytest

from lookups.cluster import ForbiddenError
from lookups.moving import Record
from settings.database import DatabaseSettings
from tests.unit.program import load_settings
from tests.unit.test_volumes import NAMESPACE, Cluster, claim, volume
from tests.unit.volume_problems import volume_problems

SETTINGS = load_settings("prod")
OURS = {"app.kubernetes.io/part-of": "invoicetron"}
RECORD = Record(uid="here", volume=None, kind="Cluster")


def problems(cluster: Cluster, record: Record | None = None, **database: Any) -> list[str]:
    changed = DatabaseSettings(engine="cloudnative-pg").model_copy(update=database)
    return volume_problems(SETTINGS.model_copy(update={"database": changed}), cluster, record)


def operated(*, uid: str = "here", labels: Any = OURS, **metadata: Any) -> Any:
    return {"metadata": {"name": "invoicetron-db", "uid": uid, "labels": labels, **metadata}}


def of_cluster(name: str = "invoicetron-db-1", *, size: str = "10Gi", storage_class: str = "longhorn") -> Any:
    one = claim()
    one["metadata"] |= {"name": name, "labels": {"cnpg.io/cluster": "invoicetron-db"}}
    one["spec"] |= {"storageClassName": storage_class, "resources": {"requests": {"storage": size}}}
    return one


@pytest.mark.parametrize(
    ("cluster", "record"),
    [
        (Cluster(volumes=[]), None),
        (Cluster(of_cluster(), operated=operated()), None),
        (Cluster(of_cluster(), of_cluster("invoicetron-db-2"), operated=operated()), RECORD),
        (Cluster(volumes=[volume("pv", uid="x", of="invoicetron-dbs-1")]), None),
    ],
)
def test_a_cluster_that_exists_or_never_existed_is_no_problem(cluster: Cluster, record: Record | None) -> None:
    assert not problems(cluster, record)


@pytest.mark.parametrize(
    ("cluster", "record", "lost"),
    [
        (Cluster(volumes=[]), RECORD, "here"),
        (Cluster(operated=operated(uid="new")), RECORD, "here"),
        (Cluster(volumes=[volume("a", uid="last", of="invoicetron-db-2")]), None, "last"),
        # The record of a StatefulSet whose claim is gone: an empty database on another engine would be no better.
        (Cluster(volumes=[]), Record(uid="gone", volume="pv-gone"), "gone"),
    ],
)
def test_a_lost_database_is_reported_until_that_very_loss_is_accepted(
    cluster: Cluster, record: Record | None, lost: str
) -> None:
    (problem,) = problems(cluster, record)
    assert problem.endswith(f"--path invoicetron:database.lostClaim {lost}")
    assert problems(cluster, record, lost_claim="another") == [problem]
    assert not problems(cluster, record, lost_claim=lost)


def test_permission_to_read_clusters_is_needed_for_that_engine_alone() -> None:
    closed = Cluster(claim(), operated=ForbiddenError("no"))
    assert not volume_problems(SETTINGS, closed, None)
    with pytest.raises(ForbiddenError):
        problems(Cluster(operated=ForbiddenError("no")))


def test_a_cluster_made_by_hand_is_not_taken_over() -> None:
    (problem,) = problems(Cluster(operated=operated(labels=None)), None)
    assert "that this program did not create" in problem


def test_a_cluster_that_is_being_deleted_is_reported_whatever_was_accepted() -> None:
    deleted = operated(deletionTimestamp="2027-01-01T00:00:00Z")
    (problem,) = problems(Cluster(operated=deleted), RECORD, lost_claim="here")
    assert f"kubectl -n {NAMESPACE} get pvc -l cnpg.io/cluster=invoicetron-db" in problem


def test_claims_without_their_cluster_are_reported() -> None:
    (problem,) = problems(Cluster(of_cluster(), volumes=[]), None)
    assert "invoicetron-db-1 belonged to a Cluster invoicetron-db that is gone" in problem


def test_every_claim_of_the_cluster_is_compared_with_size_and_class() -> None:
    claims = of_cluster(size="20Gi"), of_cluster("invoicetron-db-2", storage_class="other")
    claims[0]["status"]["capacity"] = {"storage": "5Gi"}  # the operator does not take an enlargement back
    shrunk, moved = problems(Cluster(*claims, operated=operated()), RECORD)
    assert "set database.size to 20Gi or more" in shrunk
    assert "database.storageClass is 'longhorn'; the claim invoicetron-db-2 has 'other'" in moved


def test_a_namespace_that_is_being_deleted_is_reported_with_every_claim_to_rescue() -> None:
    namespace = {"metadata": {"name": NAMESPACE, "deletionTimestamp": "2027-01-01T00:00:00Z"}}
    claims = of_cluster(), of_cluster("invoicetron-db-2")
    _, *rescues = problems(Cluster(*claims, operated=operated(), namespace=namespace), RECORD)
    assert [name for rescue in rescues for name in ("invoicetron-db-1", "invoicetron-db-2") if name in rescue] == [
        "invoicetron-db-1",
        "invoicetron-db-2",
    ]


def test_a_cluster_whose_claims_never_got_a_volume_is_made_anew() -> None:
    waiting = of_cluster(storage_class="full")
    del waiting["spec"]["volumeName"]
    (problem,) = problems(Cluster(waiting, operated=operated()))
    assert "the claim invoicetron-db-1 still waits for 10Gi of the class 'full'" in problem
    assert f"kubectl -n {NAMESPACE} delete clusters invoicetron-db" in problem
    filled = of_cluster("invoicetron-db-2", storage_class="full")
    assert all("Set it back" in one for one in problems(Cluster(waiting, filled, operated=operated())))
