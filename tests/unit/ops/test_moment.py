"""`ops restore --to`: what is refused before anything is changed, and the recovered Cluster."""

from __future__ import annotations

import datetime as dt
from contextlib import nullcontext
from typing import Any
from unittest import mock

import pytest
from urllib3.exceptions import MaxRetryError

from ops.kube import cluster as cluster_module
from ops.kube.cluster import Cluster, ClusterError
from ops.restore.moment import Moment, Recovery, beside, parse
from ops.restore.source import Source, SourceError
from settings import Settings
from settings.database import DatabaseSettings
from tests.stacks import PROD
from tests.unit.program import Program, load_settings, run
from tests.unit.test_database_claims import OPERATED_17, TO_18
from tests.unit.test_wal_archive import ENGINE, VALUES, WAL

AT = dt.datetime(2026, 1, 20, 14, 5, tzinfo=dt.UTC)


def settings(**database: Any) -> Settings:
    changed = DatabaseSettings.model_validate({"engine": "cloudnative-pg", "wal": WAL, **database})
    return load_settings("prod").model_copy(update={"database": changed})


@pytest.mark.parametrize(
    ("own", "given", "archive", "live"),
    [
        ({}, None, "invoicetron-db", True),
        ({"wal": {**WAL, "archive": "second"}}, None, "second", True),
        ({"wal": {**WAL, "archive": "second"}}, "second", "second", True),
        ({"wal": {**WAL, "archive": "second"}}, "invoicetron-db", "invoicetron-db", False),
    ],
)
def test_the_live_database_s_archive_is_used_unless_another_is_named(
    own: dict[str, Any], given: str | None, archive: str, live: bool
) -> None:
    moment = parse(settings(**own), to="2026-01-20 14:05Z", archive=given)
    assert moment == Moment(at=AT, archive=archive, live=live)


@pytest.mark.parametrize(
    ("stack", "to", "said"),
    [
        (load_settings("prod"), "2026-01-20 14:05", "use --from '2026-01-20 14:05'"),
        (load_settings("prod"), "2026-01-20 14:05", "database.engine statefulset archives no write-ahead log"),
        (settings(wal=None), "2026-01-20 14:05", r"archives no write-ahead log \(database.wal\)"),
        (settings(moving_from="statefulset"), "2026-01-20 14:05", "moves to the other engine"),
        (settings(**OPERATED_17, upgrade={**TO_18, "archive": "second"}), "2026-01-20 14:05", "finish the upgrade"),
        (settings(), "yesterday", "--to yesterday: not a time such as '2026-11-20 14:05'"),
        (settings(), "2999-01-01 00:00Z", "--to 2999-01-01 00:00Z: 2999-01-01 00:00:00 UTC is in the future"),
        (settings(), "latest", "not a time"),
    ],
)
def test_an_impossible_recovery_is_refused_with_the_reason(stack: Settings, to: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        parse(stack, to=to, archive=None)


def recovered(**changes: Any) -> dict[str, Any]:
    program = run("prod", {**ENGINE, "database.wal": WAL, **changes}, values=VALUES)
    body = beside({"spec": program.one("Cluster").inputs["spec"]}, Moment(at=AT, archive="old", live=False), PROD)
    assert body["metadata"]["name"] == "invoicetron-db-recovery"
    spec: dict[str, Any] = body["spec"]
    return spec


def test_the_recovered_cluster_reads_one_archive_to_the_moment_and_writes_none() -> None:
    spec = recovered()
    recovery = spec["bootstrap"]["recovery"]
    assert recovery["recoveryTarget"] == {"targetTime": "2026-01-20 14:05:00+00:00"}
    (source,) = spec["externalClusters"]
    assert source["name"] == recovery["source"]
    assert source["plugin"]["parameters"] == {"barmanObjectName": "invoicetron-db", "serverName": "old"}
    (plugin,) = spec["plugins"]
    assert plugin["isWALArchiver"] is False
    assert plugin["parameters"]["serverName"] == "invoicetron-db-recovery"
    assert (recovery["database"], recovery["owner"], recovery["secret"]) == (
        "invoicetron",
        "invoicetron",
        {"name": "invoicetron-db-owner"},
    )


def test_the_recovered_cluster_matches_the_live_one_with_one_instance_and_no_synchronous_standby() -> None:
    changes = {"database.instances": 3, "database.synchronous": "required"}
    live = run("prod", {**ENGINE, "database.wal": WAL, **changes}, values=VALUES).one("Cluster").inputs["spec"]
    spec = recovered(**changes)
    assert (spec["instances"], spec["enablePDB"]) == (1, False)
    assert "synchronous" in live["postgresql"]
    assert "synchronous" not in spec["postgresql"]
    assert spec["postgresql"]["parameters"] == live["postgresql"]["parameters"]
    for same in ("imageName", "storage", "resources", "managed", "seccompProfile"):
        assert spec[same] == live[same]


def test_a_cluster_of_another_recovery_is_not_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(client=mock.Mock(), names=PROD, interrupts=mock.Mock())
    recovery = Recovery(cluster=cluster, terminal=mock.Mock(), moment=Moment(at=AT, archive="a", live=True))
    monkeypatch.setattr(Recovery, "read", lambda *_: {"metadata": {}})
    asked = mock.Mock()
    monkeypatch.setattr("ops.restore.moment.CustomObjectsApi", asked)
    with pytest.raises(ClusterError, match="another recovery is running or was killed"), recovery.beside({}):
        raise AssertionError("nothing was recovered")
    assert not asked.mock_calls


@pytest.mark.parametrize(("first", "reaches"), [("2026-01-20T14:04:00Z", True), ("2026-01-20T14:06:00Z", False)])
def test_a_moment_before_the_archive_begins_is_refused(
    monkeypatch: pytest.MonkeyPatch, first: str, reaches: bool
) -> None:
    window = {"status": {"serverRecoveryWindow": {"a": {"firstRecoverabilityPoint": first}}}}
    monkeypatch.setattr(Recovery, "read", lambda *_, **__: window)
    cluster = Cluster(client=mock.Mock(), names=PROD, interrupts=mock.Mock())
    recovery = Recovery(cluster=cluster, terminal=mock.Mock(), moment=Moment(at=AT, archive="a", live=True))
    with nullcontext() if reaches else pytest.raises(SourceError, match="reaches back to 2026-01-20 14:06:00 UTC"):
        recovery.check_reach()


def test_a_cluster_that_archives_nothing_yet_is_refused(operated: Program) -> None:
    spec = operated.one("Cluster").inputs["spec"]
    with pytest.raises(ClusterError, match="archives nothing yet: run `pulumi up -s prod` first"):
        beside({"spec": spec}, Moment(at=AT, archive="a", live=True), PROD)


def test_a_recovered_database_is_named_after_its_moment() -> None:
    source = Source(backup="recovered-000012-20260120T150000Z", recovered=AT)
    assert str(source) == ("the database as it was at 2026-01-20 14:05:00 UTC (recovered-000012-20260120T150000Z)")
    assert source.scope.startswith("a backup of this program")


def test_an_api_server_that_restarts_does_not_end_a_recovery_of_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_AGAIN", 0.0)
    monkeypatch.setattr("ops.restore.moment._LOOK", 0.0)
    phases = iter([{}, {"conditions": [{"type": "Ready", "status": "True"}]}])
    monkeypatch.setattr(Recovery, "read", lambda *_: {"status": next(phases)})
    jobs = mock.Mock(side_effect=[MaxRetryError(mock.Mock(), "/", None), mock.Mock(items=[])])
    monkeypatch.setattr(Cluster, "batch", mock.Mock(list_namespaced_job=jobs))
    cluster = Cluster(client=mock.Mock(), names=PROD, interrupts=mock.Mock())
    Recovery(cluster=cluster, terminal=mock.Mock(), moment=Moment(at=AT, archive="a", live=True))._wait()
    assert jobs.call_count == 2
