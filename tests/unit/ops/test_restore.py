"""What `ops restore` and `ops backup` decide before anything happens in the cluster, and what they read afterwards."""

from __future__ import annotations

import datetime as dt
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from kubernetes.client import (
    V1ContainerState,
    V1ContainerStateWaiting,
    V1ContainerStatus,
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

from ops.kube.cluster import Interrupts, StoppedError
from ops.kube.job import pending_reason
from ops.kube.pod_log import last_words
from ops.restore import RestoreRequest, parse_request
from ops.restore.app_stop import READY, REPLICAS, previous_state, running
from ops.restore.look import ways_in
from ops.restore.options import Options
from ops.restore.source import Source, SourceError, parse_expectation, parse_source
from settings.cloudnative_pg import EngineSettings
from tests.stacks import DEV, PROD
from tests.unit.program import load_settings

CUSTOM = b"PGDMP" + bytes([1, 16, 0, 4, 8, 1]) + b"..."
DIRECTORY = b"PGDMP" + bytes([1, 16, 0, 4, 8, 5]) + b"..."


@pytest.mark.parametrize("name", ["invoicetron-000012-20260205T030000Z", "before-restore-000013-20260205T031500Z"])
def test_the_name_of_a_backup_is_not_taken_for_a_file(name: str) -> None:
    source = parse_source(name, names=DEV, limit=0)
    assert (source.backup, source.file) == (name, None)


def test_a_dump_in_the_custom_format_is_accepted_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "invoicetron-full-20260205.dump"
    file.write_bytes(CUSTOM)
    assert parse_source(str(file), names=DEV, limit=len(CUSTOM)).file == file


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"CREATE TABLE invoices (id integer);", "pg_dump's custom format"),
        (b"", "pg_dump's custom format"),
        (b"PGDMP", "pg_dump's custom format"),
        (DIRECTORY, "pg_dump's custom format"),
        (CUSTOM + b"!", "more than the database's volume holds"),
        (None, "neither a file on this machine nor the name of a backup"),
    ],
    ids=["plain SQL", "empty", "cut off", "table of contents of a directory", "too large", "missing"],
)
def test_a_file_that_cannot_be_restored_is_refused_before_anything_changes(
    tmp_path: Path, content: bytes | None, reason: str
) -> None:
    file = tmp_path / "dump"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SourceError, match=reason):
        parse_source(str(file), names=DEV, limit=len(CUSTOM))


def test_a_dump_next_to_its_manifest_is_a_backup_of_this_program(tmp_path: Path) -> None:
    file, manifest = tmp_path / "database.dump", tmp_path / "manifest.json"
    file.write_bytes(CUSTOM)
    source = parse_source(str(file), names=DEV, limit=len(CUSTOM))
    assert source.manifest is None
    assert source.scope.startswith("a dump made elsewhere")
    manifest.write_text(json.dumps({"dumpBytes": len(CUSTOM)}))
    source = parse_source(str(file), names=DEV, limit=len(CUSTOM))
    assert source.manifest == manifest
    assert source.scope.startswith("a backup of this program")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (json.dumps({"dumpBytes": len(CUSTOM) + 1}), "describes another dump"),
        (json.dumps([len(CUSTOM)]), "describes another dump"),
        ('{"dumpBytes": ', "cannot be read"),
    ],
)
def test_the_manifest_of_another_dump_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "database.dump"
    file.write_bytes(CUSTOM)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(SourceError, match=reason):
        parse_source(str(file), names=DEV, limit=len(CUSTOM))


def test_the_session_tables_reach_the_script_unchanged() -> None:
    request = RestoreRequest(
        stack="dev",
        source=Source(backup="b"),
        expectation=None,
        clear_sessions=True,
        session_tables=("user_sessions", 'auth.it\'s "odd"'),
    )
    assert json.loads(request.environment["RESTORE_SESSION_TABLES"]) == ["user_sessions", 'auth.it\'s "odd"']
    assert request.environment["RESTORE_CLEAR_SESSIONS"] == "true"


def test_tables_that_are_expected_by_name_do_not_exclude_others() -> None:
    assert json.loads(parse_expectation("invoices=567, _prisma_migrations=29")) == {
        "rows": {"invoices": 567, "_prisma_migrations": 29},
        "partial": True,
    }


def test_all_mistakes_in_an_expectation_are_reported_at_once() -> None:
    with pytest.raises(SourceError) as told:
        parse_expectation("invoices=many,=3,user=1,user=2,")
    assert all(part in str(told.value) for part in ("'invoices=many'", "'=3'", "user is given twice", "''"))


@pytest.mark.parametrize("given", ["public.invoices=567", '"Invoice"=567', 'public."Invoice"=567'])
def test_an_expected_table_is_named_as_in_the_inventory(given: str) -> None:
    with pytest.raises(SourceError, match="leave out quotes and the schema public"):
        parse_expectation(given)
    assert parse_expectation("Invoice=567,reports.monthly=3,publications=1")


def deployment(
    replicas: int, available: int | None, annotations: dict[str, str] | None = None, *, observed: int = 2
) -> V1Deployment:
    return V1Deployment(
        metadata=V1ObjectMeta(annotations=annotations, generation=2),
        spec=V1DeploymentSpec(replicas=replicas, selector=V1LabelSelector(), template=V1PodTemplateSpec()),
        status=V1DeploymentStatus(available_replicas=available, observed_generation=observed),
    )


def test_an_app_that_a_killed_run_stopped_is_remembered_as_it_was() -> None:
    was = previous_state(deployment(0, None, {REPLICAS: "2", READY: "true"}))
    assert (was.replicas, was.ready, was.remembered) == (2, True, True)
    assert (was.size, replace(was, replicas=1).size) == ("2 replicas", "1 replica")


def test_an_app_that_somebody_has_started_since_counts_as_it_is_now() -> None:
    was = previous_state(deployment(3, 3, {REPLICAS: "2", READY: "true"}))
    assert (was.replicas, was.ready, was.remembered) == (3, True, False)


def test_an_app_that_is_stopped_on_purpose_stays_so() -> None:
    assert previous_state(deployment(0, None)).replicas == 0


def test_an_app_without_an_image_was_not_ready_and_is_not_waited_for() -> None:
    assert not previous_state(deployment(1, None)).ready


def pod(*, ready: bool = True, going: bool = False) -> V1Pod:
    gone = dt.datetime(2026, 2, 5, 3, tzinfo=dt.UTC) if going else None
    condition = V1PodCondition(type="Ready", status=str(ready))
    return V1Pod(metadata=V1ObjectMeta(deletion_timestamp=gone), status=V1PodStatus(conditions=[condition]))


@pytest.mark.parametrize(
    ("observed", "available", "pods", "expected"),
    [
        pytest.param(2, 1, [pod()], 1, id="it runs"),
        pytest.param(2, 1, [pod(going=True), pod(ready=False)], 0, id="the pod that goes is still counted"),
        pytest.param(1, 1, [pod()], 0, id="the change is not seen yet"),
        pytest.param(2, None, [pod()], 0, id="ready, and not for long enough"),
    ],
)
def test_the_app_runs_when_deployment_and_pods_say_so(
    observed: int, available: int | None, pods: list[V1Pod], expected: int
) -> None:
    assert running([deployment(1, available, observed=observed)], pods) == expected


def test_a_signal_that_is_ignored_stays_ignored_and_the_others_are_noted() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    heard = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGHUP)
            interrupts.check()
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(StoppedError, match="SIGTERM"):
                interrupts.check()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
        signal.signal(signal.SIGTERM, heard)


def test_the_reason_for_a_scripts_failure_keeps_all_its_lines() -> None:
    lines = [
        "2026-02-05T03:00:00Z restoring beside the old data",
        "2026-02-05T03:00:01Z FAILED: what was restored is not what is expected:",
        "table invoices: 567 rows expected, 500 found",
    ]
    assert last_words(lines) == (
        "what was restored is not what is expected:\ntable invoices: 567 rows expected, 500 found"
    )
    assert last_words(lines[:1]) == lines[0]
    assert last_words([]) == "it left no log"


def pending(*, waiting: V1ContainerStateWaiting | None = None, unscheduled: str | None = None) -> V1Pod:
    statuses = [
        V1ContainerStatus(
            name="postgresql-client",
            image="postgres:18-alpine",
            image_id="",
            ready=False,
            restart_count=0,
            state=V1ContainerState(waiting=waiting),
        )
    ]
    conditions = [V1PodCondition(type="PodScheduled", status="False", message=unscheduled)]
    return V1Pod(
        status=V1PodStatus(
            container_statuses=statuses if waiting else None, conditions=conditions if unscheduled else None
        )
    )


def test_a_pod_that_does_not_start_is_reported_with_the_reason_it_waits_for() -> None:
    pull = V1ContainerStateWaiting(reason="ImagePullBackOff", message="not found")
    assert pending_reason(pending(waiting=pull)) == "ImagePullBackOff: not found"
    assert pending_reason(pending(unscheduled="0/2 nodes are available")) == "0/2 nodes are available"
    assert pending_reason(pending(waiting=V1ContainerStateWaiting(reason="ContainerCreating"))) == (
        pending_reason(pending())
    )


def test_a_signal_stops_at_the_next_check_but_not_in_a_deferred_block() -> None:
    with Interrupts() as interrupts:
        interrupts.check()
        signal.raise_signal(signal.SIGTERM)
        with interrupts.deferred():
            interrupts.check()
        with pytest.raises(StoppedError, match="SIGTERM"):
            interrupts.check()


@pytest.mark.parametrize("name", ["", "Lost", "1st", "lost-invoice", "a" * 21, "x; DROP DATABASE invoicetron"])
def test_an_invalid_name_of_a_database_to_look_into_is_refused(name: str) -> None:
    with pytest.raises(SourceError, match=r"--into .*: up to 20 lower-case letters") as error:
        parse_request(load_settings("prod"), source="latest", expect=None, clear_sessions=True, into=name)
    assert "--clear-sessions: not with --into" in str(error.value)
    with pytest.raises(SourceError, match=r"--discard .*: up to 20 lower-case letters"):
        Options(discarded=name).check(load_settings("prod"))


def test_the_script_gets_the_name_to_restore_into_and_the_user_the_ways_to_reach_it() -> None:
    request = parse_request(load_settings("prod"), source="latest", expect=None, clear_sessions=False, into="lost")
    assert request.environment["RESTORE_INTO"] == "lost"
    shown = ways_in(PROD, "lost", EngineSettings())
    assert "exec -it service/invoicetron-db -- psql --username=invoicetron --dbname=invoicetron_look_lost\n" in shown
    assert shown.endswith("python -m ops restore --stack prod --discard lost")


def test_on_cloudnative_pg_a_look_uses_the_primary_and_the_server_s_own_role() -> None:
    shown = ways_in(PROD, "lost", EngineSettings(engine="cloudnative-pg"))
    assert "exec -it service/invoicetron-db-rw -- psql --dbname=invoicetron_look_lost\n" in shown
    assert "port-forward service/invoicetron-db-rw 15432:5432" in shown
