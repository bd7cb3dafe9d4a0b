"""States of the cluster that the rehearsal cannot enter, or cannot leave again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import httpx
import pytest
from kubernetes.dynamic.exceptions import ResourceNotFoundError

from ops.verify import CHECKS, access, cluster, database, monitoring, tokens
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from settings.database import DatabaseSettings
from tests.stacks import PROD
from tests.unit.program import load_settings

IMAGE = "registry.example.com/app:1"


class Cluster(Systems):
    """A cluster with these objects, by kind; a list if the check lists them."""

    def __init__(self, **objects: Any) -> None:
        super().__init__(load_settings("prod"), http=httpx.Client())
        self._objects = objects

    def get(self, _api_version: str, kind: str, *_: Any) -> Any:
        return self._objects.get(kind)

    def list(self, _api_version: str, kind: str) -> Any:
        return self._objects.get(kind, [])


def workload(*, name: str = PROD.app, generation: int = 2, created: str = "", **status: Any) -> dict[str, Any]:
    """A Deployment, StatefulSet or ReplicaSet of one replica at its second generation."""
    container = {"name": name, "image": IMAGE}
    return {
        "metadata": {
            "generation": generation,
            "creationTimestamp": created,
            "ownerReferences": [{"name": PROD.app}],
        },
        "spec": {"replicas": 1, "template": {"spec": {"containers": [container]}}},
        "status": {"observedGeneration": 2, **status},
    }


def claim(**metadata: str) -> dict[str, Any]:
    return {"metadata": metadata, "status": {"phase": "Bound", "capacity": {"storage": "10Gi"}}}


PARENT = {
    "group": "gateway.networking.k8s.io",
    "kind": "Gateway",
    "namespace": "default",
    "name": "homelab-gateway",
    "sectionName": "https",
}


def route(*parents: dict[str, Any]) -> dict[str, Any]:
    hostnames = list(load_settings("prod").access.hostnames)
    return {
        "metadata": {"name": PROD.app, "generation": 2},
        "spec": {"hostnames": hostnames, "parentRefs": [PARENT]},
        "status": {"parents": [{"parentRef": PARENT, **one} for one in parents]},
    }


def answer(generation: int, status: str = "True", **parent: str) -> dict[str, Any]:
    """What a controller says about the route's parent, or about another `parent`."""
    conditions = [
        {"type": type_, "status": status, "reason": "", "message": "", "observedGeneration": generation}
        for type_ in ("Accepted", "ResolvedRefs")
    ]
    return {"conditions": conditions, **({"parentRef": {**PARENT, **parent}} if parent else {})}


READY: dict[str, Any] = {"replicas": 1, "readyReplicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
STUCK = {"type": "Progressing", "status": "False", "message": "has timed out progressing"}
OLD: dict[str, Any] = {"currentRevision": "a", "updateRevision": "b"}
NEW: dict[str, Any] = {"currentRevision": "b", "updateRevision": "b"}
HELD = {
    "phase": "Terminating",
    "conditions": [
        {
            "type": "NamespaceDeletionDiscoveryFailure",
            "status": "True",
            "message": "Discovery failed for some groups: metrics.k8s.io/v1beta1: stale GroupVersion discovery",
        }
    ],
}
VOLUME = partial(cluster.volume, which=lambda names: names.database_claim)


@pytest.mark.parametrize(
    ("look", "objects", "seen"),
    [
        (cluster.namespace, {"Namespace": {"metadata": {}, "status": {"phase": "Terminating"}}}, "it is Terminating"),
        (cluster.namespace, {"Namespace": {"metadata": {}, "status": HELD}}, "metrics.k8s.io/v1beta1: stale"),
        (cluster.database_ready, {"StatefulSet": workload(**READY, **OLD)}, "not yet of the latest revision"),
        (cluster.database_ready, {"StatefulSet": workload(**READY, **NEW, generation=3)}, "not yet of the latest"),
        (VOLUME, {"PersistentVolumeClaim": claim(deletionTimestamp="2026-01-01T00:00:00Z")}, "is being deleted"),
        (cluster.rollout, {"Deployment": workload(**READY, generation=3)}, "has not seen the latest change"),
        (cluster.rollout, {"Deployment": workload(**READY, conditions=[STUCK])}, "has timed out progressing"),
        (cluster.image, {"Deployment": workload(name="sidecar")}, "no image is not of this environment"),
        (access.route, {"HTTPRoute": route()}, "no Gateway has answered it"),
        (access.route, {"HTTPRoute": route({"conditions": []})}, "Accepted is Unknown"),
        (access.route, {"HTTPRoute": route(answer(generation=1))}, "about an older version"),
        (access.route, {"HTTPRoute": route(answer(generation=2, name="another"))}, "no Gateway has answered it"),
        (access.route, {"HTTPRoute": route(answer(generation=2, namespace="another"))}, "no Gateway has answered it"),
        (access.route, {"HTTPRoute": route(answer(2, "False"), answer(2, sectionName="http"))}, "Accepted is False"),
    ],
)
def test_an_unhealthy_state_fails(look: Callable[[Systems], str], objects: dict[str, Any], seen: str) -> None:
    with pytest.raises(CheckError) as found:
        look(Cluster(**objects))
    assert seen in found.value.seen


@pytest.mark.parametrize(
    ("look", "objects"),
    [
        (cluster.database_ready, {"StatefulSet": workload(**READY, **NEW)}),
        (VOLUME, {"PersistentVolumeClaim": claim()}),
        (cluster.rollout, {"Deployment": workload(**READY)}),
        (access.route, {"HTTPRoute": route(answer(generation=2))}),
        # A controller may keep what it said about a parent that the route no longer names.
        (access.route, {"HTTPRoute": route(answer(generation=2), answer(1, "False", sectionName="http"))}),
    ],
)
def test_the_same_objects_pass_in_a_healthy_state(look: Callable[[Systems], str], objects: dict[str, Any]) -> None:
    assert look(Cluster(**objects))


CLAIM: Any = claim() | {"spec": {"volumeName": "pvc-1"}}


@pytest.mark.parametrize("name", ["database-volume", "backup-volume"])
def test_in_a_protected_stack_each_volume_has_to_outlive_its_claim(name: str) -> None:
    (check,) = [one for one in CHECKS if one.name == name]

    def volume(policy: str) -> Cluster:
        return Cluster(
            PersistentVolumeClaim=CLAIM, PersistentVolume={"spec": {"persistentVolumeReclaimPolicy": policy}}
        )

    with pytest.raises(CheckError, match="pvc-1 has the reclaim policy Delete: it is deleted with the claim"):
        check.look(volume("Delete"))
    assert "its volume pvc-1 is retained" in check.look(volume("Retain"))
    unprotected = volume("Delete")
    unprotected.settings = unprotected.settings.model_copy(update={"protect": False})
    assert "is Bound" in check.look(unprotected)


def test_after_an_upgrade_the_volume_of_the_claim_that_the_server_mounts_is_checked() -> None:
    class Upgraded(Cluster):
        def get(self, _api_version: str, _kind: str, name: str, *_: Any) -> Any:
            pod = {"volumes": [{"name": "tmp"}, {"name": "data", "persistentVolumeClaim": {"claimName": "of-18"}}]}
            stateful_set = {"spec": {"template": {"spec": pod}}}
            volume = {"spec": {"persistentVolumeReclaimPolicy": "Retain"}}
            found = {PROD.database: stateful_set, PROD.database_claim: CLAIM, "of-18": CLAIM, "pvc-1": volume}
            return found[name]

    assert database.volumes(Upgraded()).startswith("of-18 is Bound")


@pytest.mark.parametrize(
    ("service", "seen"),
    [
        (None, "there is no Service monitoring/blackbox"),
        ({"spec": {"ports": [{"port": 80}]}}, "has the ports 80, not 9115"),
    ],
)
def test_a_prober_that_is_not_at_its_configured_address_fails(service: Any, seen: str) -> None:
    with pytest.raises(CheckError) as found:
        monitoring.prober(Cluster(Service=service))
    assert seen in found.value.seen
    assert "monitoring.prober" in found.value.fix
    assert "9115" in monitoring.prober(Cluster(Service={"spec": {"ports": [{"port": 9115}]}}))


def operated(status: dict[str, list[str]] | None, *, role: str = "invoicetron", superuser: bool = False) -> Cluster:
    """A Cluster of which the operator reports these roles by their status, and that asks for the app's `role`."""
    roles = [{"name": role, "superuser": superuser}, {"name": "invoicetron_admin", "superuser": True}]
    found = Cluster(
        Cluster={
            "spec": {"managed": {"roles": roles}},
            "status": {"managedRolesStatus": {"byStatus": status}} if status else {},
        }
    )
    found.settings = found.settings.model_copy(update={"database": DatabaseSettings(engine="cloudnative-pg")})
    return found


SET = {"not-managed": ["postgres"], "reconciled": ["invoicetron", "invoicetron_admin"]}


def test_the_app_s_role_of_a_cluster_is_no_superuser_if_the_operator_has_set_it() -> None:
    assert database.role(operated(SET)) == "the operator keeps the role invoicetron without SUPERUSER"


@pytest.mark.parametrize(
    ("cluster", "seen", "fix"),
    [
        (operated(SET, superuser=True), "asks for the role invoicetron as a superuser", "pulumi up"),
        (operated(SET, role="another"), "does not name the role invoicetron", "pulumi up"),
        # What PostgreSQL refuses for most reasons stands in the instance's log only, not in `cannotReconcile`.
        (operated({"pending-reconciliation": ["invoicetron"]}), "role invoicetron: pending-reconciliation", "logs"),
        (operated(None), "the operator has not set the role invoicetron: no status yet", "logs"),
    ],
)
def test_the_app_s_role_of_a_cluster_fails_if_it_may_be_a_superuser(cluster: Cluster, seen: str, fix: str) -> None:
    with pytest.raises(CheckError) as told:
        database.role(cluster)
    assert seen in told.value.seen
    assert fix in told.value.fix


LONGHORN: Any = {"provisioner": "driver.longhorn.io"}


@pytest.mark.parametrize(
    ("value", "well"),
    [
        ("do-nothing", False),
        ("delete-deployment-pod", False),
        ("delete-statefulset-pod", True),
        ("delete-both-statefulset-and-deployment-pod", True),
    ],
)
def test_longhorn_has_to_let_a_statefulset_move(value: str, well: bool) -> None:
    with nullcontext() if well else pytest.raises(CheckError, match=f"is {value}: the database stays"):
        assert value in database.node_loss(Cluster(StorageClass=LONGHORN, Setting={"value": value}))


def test_longhorn_without_the_setting_fails() -> None:
    class Without(Cluster):
        def get(self, api_version: str, kind: str, *rest: Any) -> Any:
            if kind == "Setting":
                raise ResourceNotFoundError("no matches found")
            return super().get(api_version, kind, *rest)

    for there in (Cluster(StorageClass=LONGHORN), Without(StorageClass=LONGHORN)):
        with pytest.raises(CheckError, match="not there"):
            database.node_loss(there)


def test_a_class_of_other_storage_does_not_need_longhorns_setting() -> None:
    assert "nfs.example.com, not of Longhorn" in database.node_loss(
        Cluster(StorageClass={"provisioner": "nfs.example.com"})
    )


def without_jobs(*, days: int) -> Cluster:
    """A cluster without migration Jobs, in which the app has run its image for this long."""
    created = (dt.datetime.now(dt.UTC) - dt.timedelta(days=days)).isoformat()
    return Cluster(Deployment=workload(), ReplicaSet=[workload(created=created)])


def test_a_version_that_outlived_its_migration_job_passes() -> None:
    assert "none left" in cluster.migration(without_jobs(days=8))


@pytest.mark.parametrize("systems", [without_jobs(days=6), Cluster(Deployment=workload())])
def test_a_new_version_without_a_migration_job_fails(systems: Cluster) -> None:
    with pytest.raises(CheckError, match="no migration has run"):
        cluster.migration(systems)


def test_a_migration_of_a_time_to_come_does_not_hide_one_that_has_failed_since() -> None:
    def job(number: int, condition: str, **after: float) -> dict[str, Any]:
        created = (dt.datetime.now(dt.UTC) + dt.timedelta(**after)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "metadata": {"name": f"{PROD.migration}-{number}", "creationTimestamp": created},
            "status": {
                "completionTime": created,
                "conditions": [{"type": condition, "status": "True", "reason": "BackoffLimitExceeded"}],
            },
        }

    with pytest.raises(CheckError, match=f"{PROD.migration}-2 failed"):
        cluster.migration(Cluster(Job=[job(1, "Complete", days=300), job(2, "Failed", hours=-1)]))


@pytest.mark.parametrize(("days", "well"), [(None, True), (1, True), (40, True), (0, False), (-3, False)])
def test_the_pipeline_s_token_is_shown_with_its_date_and_fails_on_its_renewal_day(days: int | None, well: bool) -> None:
    now = dt.datetime.now(dt.UTC)
    systems = Cluster(Secret={"metadata": {"creationTimestamp": "2026-08-20T09:10:11Z"}})
    day = None if days is None else now.date() + dt.timedelta(days=days)
    delivery = systems.delivery.model_copy(update={"renew_token_by": day})
    systems.settings = systems.settings.model_copy(update={"delivery": delivery})
    if not well:
        with pytest.raises(CheckError, match=f"made on 2026-08-20, and should have been renewed by {day}") as told:
            tokens.pipeline_token(systems)
        assert "set a later delivery.renewTokenBy" in told.value.fix
        return
    seen = tokens.pipeline_token(systems)
    assert seen.startswith("made on 2026-08-20")
    assert days is None or f"by {day}" in seen
