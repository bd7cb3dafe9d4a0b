"""The stack's existing volumes, compared with the stack file before the first resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from lookups.cluster import ForbiddenError
from lookups.lost_database import UNKNOWN_CLAIM
from lookups.moving import Record
from tests.unit.program import load_settings
from tests.unit.volume_problems import volume_problems

SETTINGS = load_settings("prod")
assert SETTINGS.database
DATABASE_SETTINGS = SETTINGS.database
NAMESPACE, DATABASE, BACKUPS = SETTINGS.namespace, "data-invoicetron-db-0", "invoicetron-backups"
GONE = Record(uid="gone", volume="pv-gone")


class Cluster:
    """Holds claims, volumes, a class that may or may not let volumes grow, and perhaps a CloudNativePG Cluster."""

    def __init__(
        self,
        *claims: Any,
        volumes: list[Any] | None = None,
        grows: bool = True,
        namespace: Any = None,
        image: str | None = None,
        operated: Any = None,
        classes: tuple[str, ...] = ("longhorn",),
    ) -> None:
        self.classes = classes
        self.image = image
        self.claims = {one["metadata"]["name"]: one for one in claims}
        self.volumes, self.grows, self.namespace = volumes, grows, namespace or {"metadata": {"name": NAMESPACE}}
        self.operated = operated

    def get(self, _version: str, resource: str, name: str, _namespace: str | None = None) -> Mapping[str, Any] | None:
        match resource:
            case "namespaces":
                return self.namespace
            case "storageclasses" if name in self.classes:
                return {"allowVolumeExpansion": self.grows}
            case "persistentvolumeclaims":
                return self.claims.get(name)
            case "statefulsets" if self.image:
                containers = [{"name": "exporter", "image": "x"}, {"name": "postgresql", "image": self.image}]
                return {"spec": {"template": {"spec": {"containers": containers}}}}
            case "clusters":
                if isinstance(self.operated, ForbiddenError):
                    raise self.operated
                found: Mapping[str, Any] | None = self.operated
                return found
        return None

    def list(self, _version: str, resource: str, _namespace: str | None = None) -> list[Any]:
        if resource == "persistentvolumeclaims":
            return list(self.claims.values())
        if resource == "storageclasses":
            return [{"metadata": {"name": one}} for one in self.classes]
        if self.volumes is None:
            raise ForbiddenError("no")
        return self.volumes


def claim(name: str = DATABASE, *, uid: str = "here", volume: str | None = "pv-here", **more: Any) -> Any:
    sizes = {DATABASE: DATABASE_SETTINGS.size, BACKUPS: SETTINGS.backup.size if SETTINGS.backup else ""}
    spec = {"storageClassName": "longhorn", "resources": {"requests": {"storage": str(sizes[name])}}}
    bound = {"volumeName": volume} if volume else {}
    status = {"phase": more.pop("phase", "Bound" if volume else "Pending")}
    if capacity := more.pop("capacity", None):
        status["capacity"] = {"storage": capacity}
    labels = {"app.kubernetes.io/part-of": "invoicetron"}
    deleted = {"deletionTimestamp": "2027-01-01T00:00:00Z"} if more.pop("deleted", False) else {}
    return {
        "metadata": {"name": name, "uid": uid, "labels": labels, **deleted},
        "spec": {**spec, **bound, **more},
        "status": status,
    }


def volume(name: str, *, uid: str | None, made: str = "2027-01-01T00:00:00Z", of: str = DATABASE) -> Any:
    reference = {"namespace": NAMESPACE, "name": of, **({"uid": uid} if uid else {})}
    return {"metadata": {"name": name, "creationTimestamp": made}, "spec": {"claimRef": reference}}


def problems(cluster: Cluster, record: Record | None = None, **database: Any) -> list[str]:
    settings = SETTINGS.model_copy(update={"database": DATABASE_SETTINGS.model_copy(update=database)})
    return volume_problems(settings, cluster, record)


def without_database(cluster: Cluster) -> list[str]:
    return volume_problems(SETTINGS.model_copy(update={"database": None}), cluster, None)


def without_backup(cluster: Cluster) -> list[str]:
    return volume_problems(SETTINGS.model_copy(update={"backup": None}), cluster, None)


@pytest.mark.parametrize(
    ("cluster", "record"),
    [
        (Cluster(), None),
        (Cluster(volumes=[]), None),
        (Cluster(claim()), None),
        (Cluster(claim()), Record(uid="here", volume="pv-here")),
        (Cluster(claim(volume="pv-gone")), GONE),
        (Cluster(claim()), Record(uid=UNKNOWN_CLAIM, volume=None)),
        (Cluster(volumes=[volume("pv-gone", uid=None), volume("pv-old", uid="old")]), GONE),
        (Cluster(volumes=[volume("pv", uid="x", of="another")]), None),
    ],
)
def test_a_database_that_exists_or_never_existed_is_no_problem(cluster: Cluster, record: Record | None) -> None:
    assert not problems(cluster, record)


@pytest.mark.parametrize(
    ("cluster", "record", "lost"),
    [
        (Cluster(), GONE, "gone"),
        (Cluster(volumes=[]), Record(uid=UNKNOWN_CLAIM, volume=None), UNKNOWN_CLAIM),
        (Cluster(claim()), GONE, "gone"),
        (Cluster(claim(volume=None)), Record(uid="gone", volume=None), "gone"),
        (Cluster(volumes=[volume("a", uid="last"), volume("b", uid="old", made="2026-01-01T00:00:00Z")]), None, "last"),
        (Cluster(volumes=[volume("a", uid="gone")]), GONE, "gone"),
    ],
)
def test_a_lost_database_is_reported_until_that_very_loss_is_accepted(
    cluster: Cluster, record: Record | None, lost: str
) -> None:
    (problem,) = problems(cluster, record)
    assert problem.endswith(f"--path invoicetron:database.lostClaim {lost}")
    assert problems(cluster, record, lost_claim="another") == [problem]
    assert not problems(cluster, record, lost_claim=lost)


UPGRADED = "data-invoicetron-db-pg18"


def test_a_volume_reserved_for_another_claim_of_the_database_is_not_the_lost_one() -> None:
    """After a major upgrade the old volume is still there, and somebody frees that one."""
    earlier = volume("pv-earlier", uid=None)
    lost = Record(uid="gone", volume="pv-gone", name=UPGRADED)
    for volumes in ([earlier], [earlier, volume("pv-gone", uid="gone", of=UPGRADED)]):
        (problem,) = problems(Cluster(volumes=volumes), lost)
        assert f"The database's claim {UPGRADED} (gone, on the volume pv-gone) is gone" in problem
    assert not problems(Cluster(volumes=[earlier, volume("pv-gone", uid=None, of=UPGRADED)]), lost)


def test_a_volume_reserved_for_another_claim_than_a_new_state_knows_is_reported() -> None:
    reserved, earlier = volume("pv", uid=None, of=UPGRADED), volume("pv-earlier", uid="earlier")
    (problem,) = problems(Cluster(volumes=[reserved, earlier]), None)
    assert f"The volume pv is reserved for the claim {UPGRADED}, and" in problem
    assert f"make an empty one for {DATABASE}." in problem
    change = f'{{"spec": {{"claimRef": {{"name": "{DATABASE}"}}}}}}'
    assert problem.endswith(f"kubectl patch pv pv -p '{change}'")


def test_a_claim_that_is_being_deleted_is_reported_whatever_was_accepted() -> None:
    (problem,) = problems(Cluster(claim(deleted=True)), GONE, lost_claim="here")
    assert "kubectl patch pv pv-here" in problem


def test_a_volume_reserved_for_an_instance_does_not_count_as_a_lost_database() -> None:
    reserved = volume("pv", uid=None, of=f"{SETTINGS.names.database}-1")
    assert not problems(Cluster(volumes=[reserved]), engine="cloudnative-pg")
    held = volume("pv", uid="gone", of=f"{SETTINGS.names.database}-1")
    (problem,) = problems(Cluster(volumes=[reserved, held]), engine="cloudnative-pg")
    assert problem.endswith("database.lostClaim gone")


@pytest.mark.parametrize("record", [None, Record(uid="here", volume="pv-here"), GONE])
def test_a_claim_whose_volume_is_gone_is_reported_whatever_was_accepted(record: Record | None) -> None:
    (problem,) = problems(Cluster(claim(phase="Lost")), record, lost_claim="here")
    assert "is Lost: its volume pv-here was deleted" in problem
    assert f"kubectl -n {NAMESPACE} delete --ignore-not-found statefulset/invoicetron-db pvc/{DATABASE}" in problem


def test_a_namespace_that_is_being_deleted_is_reported_with_what_blocks_it() -> None:
    conditions = [
        {"type": "NamespaceDeletionDiscoveryFailure", "status": "True", "message": "no metrics.k8s.io/v1beta1"},
        {"type": "NamespaceContentRemaining", "status": "False", "message": "all gone"},
    ]
    metadata = {"name": NAMESPACE, "deletionTimestamp": "2027-01-01T00:00:00Z"}
    held = Cluster(claim(), namespace={"metadata": metadata, "status": {"conditions": conditions}})
    why, rescue = problems(held, None)
    assert "NamespaceDeletionDiscoveryFailure: no metrics.k8s.io/v1beta1" in why
    assert "all gone" not in why
    assert "kubectl patch pv pv-here" in rescue


@pytest.mark.parametrize("name", [DATABASE, BACKUPS])
@pytest.mark.parametrize(
    ("more", "grows", "told"),
    [
        ({"storageClassName": "fast"}, True, ".storageClass is 'longhorn'"),
        ({"resources": {"requests": {"storage": "1Ti"}}}, True, ".size to 1Ti or more"),
        ({"resources": {"requests": {"storage": "1Mi"}}}, False, "lets no volume grow"),
    ],
)
def test_an_impossible_change_of_a_claim_is_reported_with_its_setting(
    name: str, more: dict[str, Any], grows: bool, told: str
) -> None:
    (problem,) = problems(Cluster(claim(name, **more), grows=grows))
    assert told in problem
    assert problem.startswith("database." if name == DATABASE else "backup.")


@pytest.mark.parametrize("name", [DATABASE, BACKUPS])
@pytest.mark.parametrize(
    "more",
    [
        {"accessModes": ["ReadWriteMany"]},
        {"accessModes": ["ReadWriteOnce", "ReadWriteMany"]},
        {"selector": {"matchLabels": {"disk": "by-hand"}}},
    ],
)
def test_a_claim_made_by_hand_that_up_would_replace_is_reported(name: str, more: dict[str, Any]) -> None:
    (problem,) = problems(Cluster(claim(name, **more)))
    assert f"claim {name}" in problem
    assert next(iter(more)) in problem
    assert not problems(Cluster(claim(name, accessModes=["ReadWriteOnce"])))


def test_a_volume_that_may_grow_is_no_problem() -> None:
    assert not problems(Cluster(claim(resources={"requests": {"storage": "1Mi"}})))


@pytest.mark.parametrize("name", [DATABASE, BACKUPS])
def test_a_size_that_the_volume_never_reached_can_be_taken_back(name: str) -> None:
    """As Kubernetes allows since 1.32; the storage has refused the larger size, for example for lack of room."""
    asked: dict[str, Any] = {"resources": {"requests": {"storage": "100Ti"}}}
    assert not problems(Cluster(claim(name, **asked, capacity="1Mi")))
    size = claim(name)["spec"]["resources"]["requests"]["storage"]
    for capacity in (size, "1Ti"):  # the volume has it already
        (problem,) = problems(Cluster(claim(name, **asked, capacity=capacity)))
        assert problem.startswith("database.size is " if name == DATABASE else "backup.size is ")
        assert f"has {capacity} and waits for 100Ti, which can be lowered to more than {capacity}" in problem


@pytest.mark.parametrize("name", [DATABASE, BACKUPS])
@pytest.mark.parametrize("asked", [{"storageClassName": "slow"}, {"resources": {"requests": {"storage": "1Ti"}}}])
def test_a_claim_that_never_got_its_volume_is_made_anew(name: str, asked: dict[str, Any]) -> None:
    """The class cannot provide that much, or waits for the first pod."""
    (problem,) = problems(Cluster(claim(name, volume=None, **asked)))
    assert f"the claim {name} still waits for" in problem
    assert f"kubectl -n {NAMESPACE} delete pvc {name}" in problem
    grown: dict[str, Any] = {"resources": {"requests": {"storage": "1Mi"}}}
    assert len(problems(Cluster(claim(name, volume=None, **grown)))) == 1, "as for a larger size"
    assert not problems(Cluster(claim(name, volume=None)))


def test_backups_are_not_deleted_by_switching_them_off() -> None:
    (problem,) = without_backup(Cluster(claim(BACKUPS)))
    assert "backup is switched off" in problem
    foreign = claim(BACKUPS)
    foreign["metadata"]["labels"] = {}
    assert not without_backup(Cluster(foreign))
    assert not without_backup(Cluster())


ALPINE, DEBIAN, BOOKWORM = "postgres:18-alpine", "postgres:18", "postgres:18.1-bookworm"


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        (ALPINE, DEBIAN),
        (DEBIAN, ALPINE),
        ("postgres:18.1-alpine3.22", "registry.example.com/library/postgres:18.1-trixie"),
        (BOOKWORM, DEBIAN),
        ("postgres:18-trixie", BOOKWORM),
    ],
)
def test_an_image_that_sorts_text_in_another_order_is_refused_where_there_is_data(live: str, wanted: str) -> None:
    (problem,) = problems(Cluster(claim(), image=live), image=wanted)
    assert f"database.image is {wanted}, which sorts text by" in problem
    assert f"written by {live}" in problem
    assert "move the data by a dump" in problem
    (problem,) = problems(Cluster(claim()), Record(uid="here", volume="pv-here", image=live), image=wanted)
    assert f"written by {live}" in problem, "somebody has deleted the StatefulSet"
    assert problems(Cluster(volumes=[]), image=wanted) == [], "a database that never was has no order yet"


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        (ALPINE, "postgres:18.4-alpine3.23"),
        (DEBIAN, "postgres:18.2-trixie"),
        (BOOKWORM, "mirror.example.com/postgres:18-bookworm@sha256:" + "0" * 64),
        (ALPINE, "docker.io/library/postgres:18-alpine"),
    ],
)
def test_an_image_of_the_same_c_library_is_an_ordinary_change(live: str, wanted: str) -> None:
    assert problems(Cluster(claim(), image=live), image=wanted) == []


@pytest.mark.parametrize(
    ("live", "wanted"),
    [
        ("postgres:17.5", "postgres:17.6"),
        ("postgres:17.6-trixie", "postgres:17.6"),
        (DEBIAN, "postgres:18@sha256:" + "0" * 64),
    ],
)
def test_an_image_that_does_not_say_how_it_sorts_is_refused_where_there_is_data(live: str, wanted: str) -> None:
    """Docker's tags without a release moved from bookworm to trixie between postgres:17.5 and postgres:17.6."""
    (problem,) = problems(Cluster(claim(), image=live), image=wanted)
    assert f"database.image is {wanted}, whose tag names no release of Debian" in problem
    assert "/etc/os-release" in problem, "how to find the live one's"
    assert problems(Cluster(volumes=[]), image=wanted) == [], "a database that never was has no order yet"
    assert problems(Cluster(claim(), image=wanted), image=wanted) == [], "nothing changes"


@pytest.mark.parametrize("engine", ["statefulset", "cloudnative-pg"])
def test_a_missing_class_is_reported_before_a_claim_waits_for_it(engine: str) -> None:
    cluster = Cluster(claim(BACKUPS), volumes=[], classes=("local-path", "longhorn"))
    (problem,) = problems(cluster, engine=engine, storage_class="longhron")
    assert problem.startswith("database.storageClass is 'longhron', but the cluster has no such class")
    assert "It has: local-path, longhorn." in problem
    assert not problems(cluster, engine=engine)
    both = problems(Cluster(volumes=[], classes=()), engine=engine)
    assert [one.split(" ")[0] for one in both] == ["database.storageClass", "backup.storageClass"]


def test_volumes_made_by_hand_have_a_class_that_need_not_exist() -> None:
    by_hand = {"metadata": {"name": "pv"}, "spec": {"storageClassName": "by-hand"}}
    assert not problems(Cluster(claim(BACKUPS), volumes=[by_hand]), storage_class="by-hand")
    assert not problems(Cluster(claim(BACKUPS)), storage_class="by-hand"), "where nobody may look"


def test_a_missing_class_is_no_problem_for_claims_that_have_their_volume() -> None:
    assert not problems(Cluster(claim(), claim(BACKUPS), volumes=[], classes=()))


def test_switching_a_database_off_is_refused_while_its_claim_exists() -> None:
    (problem,) = without_database(Cluster(claim()))
    assert "database is switched off" in problem
    assert f"kubectl -n {NAMESPACE} delete pvc {DATABASE}" in problem
    assert not without_database(Cluster())
    foreign = claim()
    foreign["metadata"]["labels"] = {}
    assert not without_database(Cluster(foreign))
