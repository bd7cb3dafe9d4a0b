"""A stack whose database moves from one engine to the other: which database is live, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from lookups import moving
from lookups.database_url import url_complaint
from lookups.live_database import ANNOTATION, LiveDatabase, with_live_database
from lookups.moving import Record
from settings import Settings
from settings.cloudnative_pg import Engine
from settings.database import DatabaseSettings
from settings.names import Names
from tests.stacks import PROJECT
from tests.unit.program import Program, load_settings, run
from tests.unit.stack_files import refusal, with_value
from tests.unit.test_lost_cluster import of_cluster, operated
from tests.unit.test_volumes import NAMESPACE, Cluster, claim, volume
from tests.unit.volume_problems import volume_problems

SETTINGS: Final = load_settings("prod")
THERE: Final = {"engine": "cloudnative-pg", "moving_from": "statefulset"}
BACK: Final = {"engine": "statefulset", "moving_from": "cloudnative-pg"}
CLUSTER_RECORD: Final = Record(uid="cluster", volume=None, kind="Cluster")
CLAIM_RECORD: Final = Record(uid="here", volume="pv-here")


SMALL: Final = {"requests": {"cpu": "100m", "memory": "100Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}


def namespace(live: str | None = None) -> Any:
    return {"metadata": {"name": NAMESPACE, "annotations": {ANNOTATION: live} if live else {}}}


def problems(cluster: Cluster, record: Record | None, **database: Any) -> list[str]:
    settings = SETTINGS.model_copy(update={"database": DatabaseSettings().model_copy(update=database)})
    seen: Any = cluster
    return volume_problems(with_live_database(settings, seen), seen, record)


# The settings


def moved_section(**more: Any) -> dict[str, Any]:
    return {"engine": "statefulset", "movingFrom": "cloudnative-pg", **more}


def test_a_move_back_keeps_the_settings_that_only_the_cluster_has() -> None:
    kept = moved_section(instances=3, synchronous="required")
    settings = Settings.load(Names(PROJECT, "prod"), with_value("prod", "database", kept))
    assert settings.database
    assert settings.database.beside
    assert (settings.database.beside.engine, settings.database.beside.instances) == ("cloudnative-pg", 3)


@pytest.mark.parametrize(
    ("database", "said"),
    [
        ({"engine": "cloudnative-pg", "movingFrom": "cloudnative-pg"}, "cloudnative-pg already"),
        ({"movingFrom": "statefulset"}, "statefulset already"),
        ({"movingFrom": "oracle"}, "movingFrom"),
        ({"instances": 3}, "only with database.engine: cloudnative-pg"),
        (moved_section(resources=SMALL), "resources.requests.memory, on CloudNativePG"),
    ],
)
def test_an_invalid_move_is_refused(database: dict[str, Any], said: str) -> None:
    assert said in refusal("dev", with_value("dev", "database", database))


def test_a_move_needs_the_backups() -> None:
    sections = with_value("prod", "backup", None)
    sections["database"] = {"engine": "cloudnative-pg", "movingFrom": "statefulset"}
    assert "a move restores a backup in the new database" in refusal("prod", sections)


# The live database


@pytest.mark.parametrize(
    ("database", "said", "live", "is_moved"),
    [
        (THERE, None, "statefulset", False),
        (THERE, "cloudnative-pg/x", "cloudnative-pg", True),
        (BACK, None, "cloudnative-pg", False),
        (BACK, "cloudnative-pg/x", "cloudnative-pg", False),
        (BACK, "statefulset/x", "statefulset", True),
        (THERE, "nonsense", "statefulset", False),
        ({"engine": "cloudnative-pg"}, "statefulset/x", "cloudnative-pg", False),
    ],
)
def test_the_old_database_is_live_until_the_namespace_says_otherwise(
    database: dict[str, Any], said: str | None, live: Engine, is_moved: bool
) -> None:
    settings = SETTINGS.model_copy(update={"database": DatabaseSettings().model_copy(update=database)})
    cluster: Any = Cluster(namespace=namespace(said))
    found = with_live_database(settings, cluster).database
    assert found
    assert (found.engine, found.is_moved) == (live, is_moved)
    assert (found.beside is None) == ("moving_from" not in database)


def test_the_mark_on_the_namespace_reads_back_as_it_was_written() -> None:
    live = LiveDatabase(engine="cloudnative-pg", uid="some-uid")
    assert LiveDatabase.of(namespace(str(live))) == live


# Refusals


def test_a_changed_engine_is_refused_with_the_command_that_moves() -> None:
    (there,) = problems(Cluster(claim()), CLAIM_RECORD, engine="cloudnative-pg")
    assert "set database.movingFrom: statefulset as well as the engine" in there
    assert "python -m ops move-database --stack prod --to cloudnative-pg" in there
    (back,) = problems(Cluster(of_cluster(), operated=operated()), None, engine="statefulset")
    assert "set database.movingFrom: cloudnative-pg as well as" in back
    assert back.endswith("set database.engine: cloudnative-pg")


def test_an_unfinished_move_is_refused_with_the_command_that_finishes_it() -> None:
    both = Cluster(claim(), operated=operated(uid="cluster"), namespace=namespace("cloudnative-pg/cluster"))
    (said,) = problems(both, CLUSTER_RECORD, engine="cloudnative-pg")
    assert "python -m ops move-database --stack prod --discard" in said


@pytest.mark.parametrize(
    ("cluster", "record", "database"),
    [
        (Cluster(claim()), CLAIM_RECORD, THERE),
        (Cluster(claim(), of_cluster(), operated=operated()), CLAIM_RECORD, THERE),
        # Moved, before the first `up` afterwards, and after it.
        (
            Cluster(claim(), operated=operated(uid="cluster"), namespace=namespace("cloudnative-pg/cluster")),
            CLAIM_RECORD,
            THERE,
        ),
        (
            Cluster(claim(), operated=operated(uid="cluster"), namespace=namespace("cloudnative-pg/cluster")),
            CLUSTER_RECORD,
            THERE,
        ),
        # Discarded, and movingFrom removed.
        (
            Cluster(operated=operated(uid="cluster"), namespace=namespace("cloudnative-pg/cluster")),
            CLUSTER_RECORD,
            {"engine": "cloudnative-pg"},
        ),
        # The way back, with a retained volume of the first move.
        (
            Cluster(
                operated=operated(uid="cluster"),
                namespace=namespace("cloudnative-pg/cluster"),
                volumes=[volume("pv-old", uid="old")],
            ),
            CLUSTER_RECORD,
            BACK,
        ),
        (
            Cluster(claim(), operated=operated(uid="cluster"), namespace=namespace("statefulset/here")),
            CLUSTER_RECORD,
            BACK,
        ),
    ],
)
def test_no_stage_of_a_move_is_a_problem(cluster: Cluster, record: Record, database: dict[str, Any]) -> None:
    assert not problems(cluster, record, **database)


@pytest.mark.parametrize(
    ("cluster", "record", "database", "said"),
    [
        # The new database is live already and is deleted before the next `up`: no empty one takes its place.
        (Cluster(claim(), namespace=namespace("cloudnative-pg/cluster")), CLAIM_RECORD, THERE, "cluster) is gone from"),
        (
            Cluster(claim(), operated=operated(uid="new"), namespace=namespace("cloudnative-pg/cluster")),
            CLAIM_RECORD,
            THERE,
            "is not the database's",
        ),
        # The same for the old one before the move.
        (Cluster(operated=operated()), CLAIM_RECORD, THERE, "is gone from"),
        # Nothing to move, and nothing to move from any more.
        (Cluster(volumes=[]), None, THERE, "has no database to move"),
        (
            Cluster(operated=operated(uid="cluster"), namespace=namespace("cloudnative-pg/cluster")),
            CLUSTER_RECORD,
            THERE,
            "Remove movingFrom",
        ),
        # The other database belongs to somebody else, is being deleted, or does not fit.
        (Cluster(claim(), operated=operated(labels=None)), CLAIM_RECORD, THERE, "that this program did not create"),
        (
            Cluster(claim(), of_cluster(size="20Gi"), operated=operated()),
            CLAIM_RECORD,
            THERE,
            "set database.size to 20Gi or more",
        ),
        (Cluster(claim(deleted=True), operated=operated()), CLUSTER_RECORD, BACK, "is being deleted"),
    ],
)
def test_a_move_that_would_lose_a_database_is_refused(
    cluster: Cluster, record: Record | None, database: dict[str, Any], said: str
) -> None:
    found = problems(cluster, record, **database)
    assert any(said in one for one in found), found


def test_the_record_of_a_move_counts_until_an_up_has_recorded_that_engine() -> None:
    moved = LiveDatabase(engine="statefulset", uid="claim")
    assert moving.latest(None, moved) == Record(uid="claim", volume=None)
    assert moving.latest(CLUSTER_RECORD, moved) == Record(uid="claim", volume=None)
    assert moving.latest(CLAIM_RECORD, moved) == CLAIM_RECORD
    assert moving.latest(CLUSTER_RECORD, None) == CLUSTER_RECORD


@pytest.mark.parametrize(("live", "changed"), [("statefulset", False), ("cloudnative-pg", True)])
def test_a_url_of_the_old_database_is_refused_because_it_moved(live: Engine, changed: bool) -> None:
    section = DatabaseSettings().model_copy(update={**THERE, "engine": live})
    complaint = url_complaint("postgresql://invoicetron:x@invoicetron-db/invoicetron", "x", SETTINGS.names, section)
    assert (complaint is not None) == changed
    if complaint:
        assert "the database was moved to invoicetron-db-rw" in complaint[1]


# What is registered

MOVE: Final = {
    "database.engine": "cloudnative-pg",
    "database.movingFrom": "statefulset",
    "backup.size": "10Gi",  # every claim of the mocked cluster has this size
}


@pytest.fixture(scope="module")
def stage() -> Callable[[str | None], Program]:
    """The program with both databases, before the move and after it."""
    cluster = operated(uid="cluster")
    return lambda live: run(
        "prod",
        MOVE,
        there={
            "persistentvolumeclaims": claim(),
            "clusters": cluster,
            "namespaces": namespace(live),
            "statefulsets": None,
        },
    )


def host(program: Program, cron_job: str, variable: str = "PGHOST") -> Any:
    (pod,) = (pod for owner, pod in program.pods() if owner.inputs["metadata"]["name"] == cron_job)
    (container,) = pod["spec"]["containers"]
    return {one["name"]: one.get("value") for one in container["env"]}.get(variable)


def test_before_the_move_everything_uses_the_old_database(stage: Callable[[str | None], Program]) -> None:
    program = stage(None)
    assert program.outputs["database_host"] == "invoicetron-db"
    assert program.outputs["database_claim"].get("kind") is None
    assert "@invoicetron-db:5432/" in program.one("Secret", "invoicetron-app").inputs["stringData"]["database-url"]
    assert host(program, "invoicetron-db-backup") == host(program, "invoicetron-db-restore") == "invoicetron-db"
    assert host(program, "invoicetron-db-move") == "invoicetron-db-rw"
    assert host(program, "invoicetron-db-move", "SOURCE_PGHOST") == "invoicetron-db"
    assert program.one("StatefulSet").request.protect
    assert program.one("Cluster").request.protect
    # The operator deletes a budget with this name, whoever created it.
    assert not [one for one in program.of("PodDisruptionBudget") if one.inputs["metadata"]["name"] == "invoicetron-db"]
    assert program.one("Cluster").inputs["spec"]["enablePDB"] is False


def test_after_the_move_everything_uses_the_new_database_and_the_old_one_stays(
    stage: Callable[[str | None], Program],
) -> None:
    program = stage("cloudnative-pg/cluster")
    assert program.outputs["database_host"] == "invoicetron-db-rw"
    assert "@invoicetron-db-rw:5432/" in program.one("Secret", "invoicetron-app").inputs["stringData"]["database-url"]
    assert host(program, "invoicetron-db-backup") == host(program, "invoicetron-db-restore") == "invoicetron-db-rw"
    assert not [one for one in program.of("CronJob") if one.inputs["metadata"]["name"] == "invoicetron-db-move"]
    assert program.one("StatefulSet").request.protect
    assert program.one("PersistentVolumeClaim", "data-invoicetron-db-0").request.retainOnDelete


def test_both_databases_are_reached_by_their_clients_and_by_nobody_else(stage: Callable[[str | None], Program]) -> None:
    policies = {one.inputs["metadata"]["name"]: one.inputs["spec"] for one in stage(None).of("CiliumNetworkPolicy")}
    old, new = policies["invoicetron-db"], policies["invoicetron-db-other"]
    assert old["endpointSelector"]["matchLabels"] == {"app": "invoicetron-db"}
    assert new["endpointSelector"]["matchLabels"] == {"cnpg.io/cluster": "invoicetron-db"}
    reached = [
        rule["toEndpoints"][0]["matchLabels"] for rule in policies["invoicetron"]["egress"] if "toEndpoints" in rule
    ]
    assert {"app": "invoicetron-db"} in reached
    assert {"cnpg.io/cluster": "invoicetron-db"} in reached
