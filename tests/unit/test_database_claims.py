"""Which claim the database is on, according to the cluster, and that no other version is started on it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from components.database_claims import MAJOR, UPGRADED_FROM
from lookups.database_claims import STOPPED_BY, FoundClaims, find_claims, find_problems, with_live_version
from lookups.moving import Record
from settings.database import DatabaseSettings, UpgradeSettings
from tests.unit.program import load_settings, run
from tests.unit.stack_files import refusal, with_value
from tests.unit.test_environment import BOUNDS, busiest_moment, quota
from tests.unit.test_wal_archive import BUCKET
from tests.unit.volume_problems import volume_problems

SETTINGS = load_settings("prod")
ON_17 = DatabaseSettings(image="postgres:17-alpine")
ON_18 = DatabaseSettings(image="postgres:18-alpine")
UPGRADING = DatabaseSettings(image="postgres:17-alpine", upgrade=UpgradeSettings(image="postgres:18-alpine"))
CNPG_17, CNPG_18 = (f"ghcr.io/cloudnative-pg/postgresql:{tag}-minimal-trixie" for tag in ("17.9", "18.6"))
OPERATED_17: dict[str, Any] = {"engine": "cloudnative-pg", "image": "postgres:17-alpine", "operandImage": CNPG_17}
TO_18 = {"image": "postgres:18-alpine", "operandImage": CNPG_18}
FIRST, NEXT = "data-invoicetron-db-0", "data-invoicetron-db-pg18"


def claim(name: str, uid: str, *, major: int | None = None, upgraded_from: str | None = None) -> dict[str, Any]:
    annotations = {MAJOR: str(major)} if major else {}
    annotations |= {UPGRADED_FROM: upgraded_from} if upgraded_from else {}
    spec = {"storageClassName": "longhorn", "resources": {"requests": {"storage": "10Gi"}}, "volumeName": f"pv-{uid}"}
    return {"metadata": {"name": name, "uid": uid, "annotations": annotations}, "spec": spec}


def stateful_set(image: str, on: str) -> dict[str, Any]:
    volumes = [{"name": "run", "emptyDir": {}}, {"name": "data", "persistentVolumeClaim": {"claimName": on}}]
    pod = {"containers": [{"name": "postgresql", "image": image}], "volumes": volumes}
    return {"metadata": {"name": "invoicetron-db"}, "spec": {"template": {"spec": pod}}}


def stopped_app(by: str) -> dict[str, Any]:
    return {"metadata": {"name": "invoicetron", "annotations": {STOPPED_BY: by}}}


class Cluster:
    """Holds the given objects, by kind and name."""

    def __init__(self, *claims: Any, stateful_set: Any = None, app: Any = None, operated: Any = None) -> None:
        self._held = {("persistentvolumeclaims", one["metadata"]["name"]): one for one in claims}
        self._held |= {("clusters", "invoicetron-db"): operated}
        self._held |= {("statefulsets", "invoicetron-db"): stateful_set, ("deployments", "invoicetron"): app}
        self._held[("storageclasses", "longhorn")] = {}

    def get(self, _version: str, resource: str, name: str, _namespace: str | None = None) -> Any:
        return self._held.get((resource, name))

    def list(self, *_: Any, **__: Any) -> list[Any]:
        return []


def found(cluster: Cluster, database: DatabaseSettings, record: Record | None = None) -> FoundClaims:
    return find_claims(SETTINGS.model_copy(update={"database": database}), cluster, record)  # type: ignore[arg-type]


def problems(cluster: Cluster, database: DatabaseSettings, record: Record | None = None) -> list[str]:
    return list(find_problems(SETTINGS, database, cluster, found(cluster, database, record)))  # type: ignore[arg-type]


def test_a_new_stack_has_one_claim_whatever_its_version() -> None:
    for database in (ON_17, ON_18):
        assert found(Cluster(), database).claims.current == FIRST
        assert problems(Cluster(), database) == []


def test_the_next_version_s_claim_exists_next_to_the_one_in_use() -> None:
    there = found(Cluster(claim(FIRST, "a", major=17), stateful_set=stateful_set(ON_17.image, FIRST)), UPGRADING)
    assert (there.claims.current, there.claims.next, dict(there.claims.kept)) == (FIRST, NEXT, {})
    assert with_live_version(SETTINGS, there) == SETTINGS


UPGRADED = (claim(FIRST, "a", major=17), claim(NEXT, "b", major=18, upgraded_from="a"))


@pytest.mark.parametrize(
    ("cluster", "record"),
    [
        (Cluster(*UPGRADED, stateful_set=stateful_set(ON_18.image, NEXT)), Record(uid="a", volume="pv-a")),
        # The StatefulSet was deleted, before and after the next `up`.
        (Cluster(*UPGRADED), Record(uid="a", volume="pv-a", image=ON_17.image)),
        (Cluster(*UPGRADED), Record(uid="b", volume="pv-b", image=ON_18.image, name=NEXT)),
    ],
)
def test_after_the_move_the_database_is_on_the_new_claim_whatever_the_stack_file_still_says(
    cluster: Cluster, record: Record
) -> None:
    there = found(cluster, UPGRADING, record)
    assert (there.claims.current, there.claims.next, dict(there.claims.kept)) == (NEXT, None, {FIRST: "17"})
    settings = SETTINGS.model_copy(update={"database": UPGRADING})
    live = with_live_version(settings, there).database
    assert live is not None
    assert (live.image, live.upgrade) == (ON_18.image, None)
    assert problems(cluster, live, record) == []
    moved = settings.model_copy(update={"database": live})
    assert volume_problems(moved, cluster, record) == []


def test_an_unfinished_move_leaves_the_database_on_its_claim() -> None:
    cluster = Cluster(*UPGRADED, stateful_set=stateful_set(ON_17.image, FIRST))
    there = found(cluster, UPGRADING, Record(uid="a", volume="pv-a"))
    assert (there.claims.current, there.claims.next) == (FIRST, NEXT)


@pytest.mark.parametrize("on", ["postgres-pvc", "invoicetron-backups"])
def test_a_claim_that_only_a_stateful_set_made_by_hand_mounts_is_not_the_programs(on: str) -> None:
    """The program would lose sight of it with that StatefulSet, and delete it."""
    assert found(Cluster(claim(on, "a"), stateful_set=stateful_set(ON_18.image, on)), ON_18).claims.current == FIRST


def test_a_claim_that_is_gone_keeps_the_name_that_the_last_up_left() -> None:
    assert found(Cluster(), ON_18, Record(uid="b", volume="pv-b", name=NEXT)).claims.current == NEXT


@pytest.mark.parametrize(
    ("live", "image", "words"),
    [
        (claim(FIRST, "a", major=17), ON_18, "python -m ops upgrade --stack prod --to 18"),
        (claim(FIRST, "a", major=18), ON_17, "Set it to an image of 18"),
        (claim(FIRST, "a"), ON_18, "has data of PostgreSQL 17"),
    ],
)
def test_a_version_other_than_the_data_s_is_refused(live: dict[str, Any], image: DatabaseSettings, words: str) -> None:
    (problem,) = problems(Cluster(live, stateful_set=stateful_set(ON_17.image, FIRST)), image)
    assert words in problem
    assert image.image in problem


def test_the_version_on_an_earlier_releases_claim_comes_from_the_record() -> None:
    record = Record(uid="a", volume="pv-a", image=ON_17.image)
    (problem,) = problems(Cluster(claim(FIRST, "a")), ON_18, record)
    assert "has data of PostgreSQL 17" in problem
    assert problems(Cluster(claim(FIRST, "a")), ON_18) == [], "adopted, and of whatever version import-existing saw"


def test_up_is_refused_while_an_upgrade_has_stopped_the_app() -> None:
    live = {"stateful_set": stateful_set(ON_17.image, FIRST)}
    (problem,) = problems(Cluster(claim(FIRST, "a", major=17), app=stopped_app("upgrade-1"), **live), UPGRADING)
    assert "python -m ops upgrade --stack prod --to 18" in problem
    assert problems(Cluster(claim(FIRST, "a", major=17), app=stopped_app("0a1b"), **live), UPGRADING) == []


def test_an_upgrade_adds_a_claim_and_a_template_and_leaves_the_server_alone() -> None:
    before = run("prod", {"database.image": "postgres:17-alpine"})
    program = run("prod", {"database.image": "postgres:17-alpine", "database.upgrade.image": "postgres:18-alpine"})
    assert program.one("StatefulSet").inputs == before.one("StatefulSet").inputs
    following, current = (program.one("PersistentVolumeClaim", name) for name in (NEXT, FIRST))
    assert following.inputs["spec"] == current.inputs["spec"]
    assert (current.inputs["metadata"]["annotations"][MAJOR], following.inputs["metadata"]["annotations"][MAJOR]) == (
        "17",
        "18",
    )
    assert (current.request.protect, following.request.protect) == (True, False), "one that is empty can be given up"
    job = program.one("CronJob", "invoicetron-db-upgrade").inputs["spec"]
    assert job["suspend"] is True
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (server,) = program.one("StatefulSet").inputs["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "postgres:18-alpine"
    assert container["command"] == ["sh", "/scripts/upgrade.sh", *server["args"]]
    assert container["resources"] == server["resources"]
    mounted = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert mounted["data"] == "/var/lib/postgresql"
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == NEXT
    assert all(busiest_moment(program)[bound] <= quota(program)[bound] for bound in BOUNDS), "both servers run at once"


def test_a_version_that_keeps_its_data_elsewhere_has_pgdata_set() -> None:
    def folder(image: str) -> list[str]:
        (server,) = (
            run("dev", {"database.image": image}).one("StatefulSet").inputs["spec"]["template"]["spec"]["containers"]
        )
        return [one["value"] for one in server["env"] if one["name"] == "PGDATA"]

    assert folder("postgres:17-alpine") == ["/var/lib/postgresql/17/docker"]
    assert folder("postgres:18-alpine") == []


@pytest.mark.parametrize(
    ("database", "words"),
    [
        ({"image": "postgres:18-alpine", "upgrade": {"image": "postgres:18.6-alpine"}}, "a later major version"),
        ({"image": "postgres:18-alpine", "upgrade": {"image": "postgres:17-alpine"}}, "a later major version"),
        (
            {"image": "postgres:17-alpine", "upgrade": {"image": "postgres:18-alpine", "operandImage": CNPG_18}},
            "only with",
        ),
        (
            {"image": "postgres:17-alpine", "upgrade": {"image": "postgres:18-alpine", "archive": "second"}},
            "only with",
        ),
        ({"engine": "cloudnative-pg", "image": "postgres:17-alpine"}, "an image of PostgreSQL 18"),
        ({"engine": "cloudnative-pg", "operandImage": CNPG_17}, "an image of PostgreSQL 17"),
        ({"engine": "cloudnative-pg", "operandImage": CNPG_17.replace("17", "16")}, "PostgreSQL 17 or 18"),
        ({**OPERATED_17, "upgrade": {"image": "postgres:18-alpine"}}, "image of PostgreSQL 18"),
        (
            {**OPERATED_17, "upgrade": {"image": "postgres:18-alpine", "operandImage": CNPG_17}},
            "image of PostgreSQL 18",
        ),
        (
            {**OPERATED_17, "upgrade": {**TO_18, "operandImage": CNPG_18.replace("trixie", "bookworm")}},
            "release of Debian",
        ),
        ({**OPERATED_17, "upgrade": {**TO_18, "archive": "second"}}, "only with database.wal"),
        ({**OPERATED_17, "wal": {"s3": BUCKET}, "upgrade": TO_18}, "no archive of the bucket has had"),
        (
            {**OPERATED_17, "wal": {"s3": BUCKET, "archive": "a"}, "upgrade": {**TO_18, "archive": "a"}},
            "no archive of the bucket has had",
        ),
        ({**OPERATED_17, "movingFrom": "statefulset", "upgrade": TO_18}, "nothing while the database moves"),
    ],
)
def test_an_impossible_upgrade_is_refused_by_the_settings(database: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        DatabaseSettings.model_validate(database)


def test_the_next_archive_may_not_have_the_current_one_s_default_name() -> None:
    upgrade = {**TO_18, "archive": "invoicetron-db"}
    database = {**OPERATED_17, "wal": {"s3": BUCKET}, "upgrade": upgrade}
    assert "a name other than that of the current archive" in refusal("dev", with_value("dev", "database", database))


def operated(image: str, *, data: int | None) -> dict[str, Any]:
    status = {"pgDataImageInfo": {"majorVersion": data}} if data else {}
    return {"metadata": {"name": "invoicetron-db"}, "spec": {"imageName": image}, "status": status}


def of_operator(**more: Any) -> DatabaseSettings:
    return DatabaseSettings.model_validate({**OPERATED_17, **more})


def test_after_an_upgrade_in_place_the_settings_are_the_new_ones_whatever_the_stack_file_still_says() -> None:
    database = of_operator(wal={"s3": BUCKET}, upgrade={**TO_18, "archive": "second"})
    settings = SETTINGS.model_copy(update={"database": database})
    before, after = (
        found(Cluster(operated=operated(image, data=data)), database) for image, data in ((CNPG_17, 17), (CNPG_18, 18))
    )
    assert with_live_version(settings, before) == settings
    live = with_live_version(settings, after).database
    assert live is not None
    assert live.wal is not None
    assert (live.image, live.operand_image, live.wal.archive) == ("postgres:18-alpine", CNPG_18, "second")
    assert live.upgrade is None
    assert problems(Cluster(operated=operated(CNPG_18, data=18)), live) == []
    assert before.claims.next is None, "no volume is made for it"


@pytest.mark.parametrize(
    ("live", "wanted", "words"),
    [
        (
            operated(CNPG_17, data=17),
            {"image": "postgres:18", "operandImage": CNPG_18},
            "ops upgrade --stack prod --to 18",
        ),
        (operated(CNPG_18, data=18), {}, "Set it to an image of 18"),
        (operated(CNPG_18, data=17), {}, "would interrupt that"),
        (operated(CNPG_18, data=17), {"image": "postgres:18", "operandImage": CNPG_18}, "would interrupt that"),
    ],
)
def test_up_neither_begins_nor_breaks_off_nor_undoes_an_upgrade_in_place(
    live: dict[str, Any], wanted: dict[str, Any], words: str
) -> None:
    (problem,) = problems(Cluster(operated=live), of_operator(**wanted))
    assert words in problem


def test_up_is_refused_while_an_upgrade_in_place_has_stopped_the_app() -> None:
    cluster = Cluster(operated=operated(CNPG_18, data=18), app=stopped_app("upgrade-1"))
    (problem,) = problems(cluster, of_operator(image="postgres:18-alpine", operandImage=CNPG_18))
    assert "python -m ops upgrade --stack prod --to 18" in problem


def test_a_cluster_that_its_operator_has_not_seen_yet_is_no_problem() -> None:
    for live in (None, operated(CNPG_17, data=None)):
        assert problems(Cluster(operated=live), of_operator()) == []


def test_an_upgrade_in_place_changes_nothing_until_ops_upgrade_requests_it() -> None:
    database = {f"database.{key}": value for key, value in OPERATED_17.items()}
    before = run("prod", database).one("Cluster").inputs
    assert run("prod", {**database, "database.upgrade": TO_18}).one("Cluster").inputs == before
