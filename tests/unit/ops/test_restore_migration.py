"""Which of the cluster's Jobs are migrations that a restore must not meet."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kubernetes.client import V1Job, V1JobCondition, V1JobStatus, V1ObjectMeta, V1OwnerReference
from kubernetes.client.exceptions import ApiException

from ops.kube.cluster import Cluster, ClusterError
from ops.restore.migration import refuse_new, refuse_running
from ops.restore.source import Source
from tests.stacks import DEV

SOURCE = Source(backup="b")


def job(name: str, *, owner: str = "invoicetron-migrate", uid: str | None = None, ended: str | None = None) -> V1Job:
    """A Job of a CronJob, whose UID is its name; a pod of it may have failed."""
    since = dt.datetime(2026, 2, 5, 3, tzinfo=dt.UTC)
    references = [V1OwnerReference(api_version="batch/v1", kind="CronJob", name=owner, uid=owner, controller=True)]
    metadata = V1ObjectMeta(name=name, uid=uid or name, creation_timestamp=since, owner_references=references)
    conditions = [V1JobCondition(type=ended, status="True")] if ended else None
    return V1Job(metadata=metadata, status=V1JobStatus(failed=1, conditions=conditions))


def holding(*jobs: V1Job, up: bool = True) -> Cluster:
    """A cluster with these Jobs and, if `up` has run, the migrations' CronJob."""

    def read(name: str, _namespace: str, **_: Any) -> Any:
        if not up:
            raise ApiException(status=404)
        return SimpleNamespace(metadata=V1ObjectMeta(name=name, uid=name))

    batch = SimpleNamespace(
        read_namespaced_cron_job=read, list_namespaced_job=lambda *_, **__: SimpleNamespace(items=list(jobs))
    )
    fake = SimpleNamespace(names=DEV, namespace=DEV.namespace, batch=batch, persistently=lambda action: action())
    return cast(Cluster, fake)


def test_a_migration_between_its_two_attempts_still_counts() -> None:
    with pytest.raises(ClusterError, match=r"waits for its second attempt, .* m-2, since 2026-02-05 03:00:00 UTC"):
        refuse_running(holding(job("m-1", ended="Complete"), job("m-2")), SOURCE)


@pytest.mark.parametrize(
    "jobs",
    [
        [],
        [job("m-1", ended="Complete"), job("m-2", ended="Failed")],
        [job("backup", owner="invoicetron-db-backup")],
    ],
    ids=["none", "ended", "a backup"],
)
def test_nothing_else_stops_a_restore(jobs: Sequence[V1Job]) -> None:
    refuse_running(holding(*jobs), SOURCE)


def test_a_stack_whose_up_has_not_made_the_migrations_yet_can_be_restored() -> None:
    refuse_running(holding(job("m-1"), up=False), SOURCE)


def test_one_command_ends_all_running_migrations_and_waits_for_their_pods() -> None:
    command = "kubectl -n invoicetron-dev delete job m-1 m-2 --cascade=foreground\n"
    with pytest.raises(ClusterError, match=command):
        refuse_running(holding(job("m-1"), job("m-2")), SOURCE)


@pytest.mark.parametrize("ended", ["Complete", "Failed", None])
def test_a_migration_that_began_during_a_restore_is_reported_even_if_it_has_ended(ended: str | None) -> None:
    before = job("m-1", ended="Failed")
    known = refuse_running(holding(before), SOURCE)
    refuse_new(holding(before), known)
    with pytest.raises(ClusterError) as told:
        refuse_new(holding(before, job("m-2", ended=ended)), known)
    assert "began during the restore: m-2. " in str(told.value)
    assert ("delete job m-2" in str(told.value)) == (ended is None)


def test_a_repeated_migration_of_the_same_commit_is_a_new_one() -> None:
    known = refuse_running(holding(job("m-1", ended="Failed", uid="first")), SOURCE)
    with pytest.raises(ClusterError, match="began during the restore: m-1"):
        refuse_new(holding(job("m-1", ended="Complete", uid="second")), known)
