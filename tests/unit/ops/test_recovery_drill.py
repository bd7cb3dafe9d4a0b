"""`ops drill`: when the schedule runs a recovery drill, and that only a successful one is recorded."""

from __future__ import annotations

import datetime as dt
from typing import Any
from unittest import mock

import pytest
from urllib3.exceptions import ProtocolError

from ops.kube.cluster import Cluster, ClusterError
from ops.kube.job import JobFailedError
from ops.restore import recovery_drill
from ops.restore.moment import Moment
from ops.restore.source import Source
from settings import Settings
from settings.database import DatabaseSettings
from tests.stacks import PROD
from tests.unit.program import load_settings
from tests.unit.test_database_claims import OPERATED_17, TO_18
from tests.unit.test_wal_archive import WAL

NOW = dt.datetime(2026, 1, 20, 6, 30, tzinfo=dt.UTC)


def settings(**database: Any) -> Settings:
    changed = DatabaseSettings.model_validate({"engine": "cloudnative-pg", "wal": WAL, **database})
    return load_settings("prod").model_copy(update={"database": changed})


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(client=mock.Mock(), names=PROD, interrupts=mock.Mock())


@pytest.mark.parametrize(
    ("ago", "due"),
    [
        (None, True),
        (dt.timedelta(days=6, hours=20), False),
        (dt.timedelta(days=6, hours=23), True),
        (dt.timedelta(days=30), True),
        (dt.timedelta(days=-30), True),
    ],
)
def test_a_drill_runs_weekly_although_the_schedule_runs_daily(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, ago: dt.timedelta | None, due: bool
) -> None:
    monkeypatch.setattr("ops.checks.last", lambda *_: ago and NOW - ago)
    assert (recovery_drill.not_due(cluster, settings(), NOW) is None) is due


@pytest.mark.parametrize(
    ("stack", "why"),
    [
        (load_settings("prod"), "archives no write-ahead log"),
        (settings(wal=None), "archives no write-ahead log"),
        (load_settings("prod").model_copy(update={"database": None}), "archives no write-ahead log"),
        (settings(movingFrom="statefulset"), "is moving to the other engine"),
        (settings(**OPERATED_17, upgrade={**TO_18, "archive": "second"}), "is being upgraded"),
    ],
)
def test_if_nothing_can_be_recovered_the_schedule_passes_and_a_user_gets_an_error(
    cluster: Cluster, stack: Settings, why: str
) -> None:
    told = recovery_drill.not_due(cluster, stack, NOW)
    assert told is not None
    assert why in told
    with pytest.raises(ClusterError) as error:
        recovery_drill.drill(cluster, mock.Mock(), stack, NOW)
    assert str(error.value) == told


def test_the_database_of_a_moment_ago_is_recovered_and_then_recorded(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Moment] = []

    def recovered(_cluster: Cluster, _terminal: Any, moment: Moment) -> Source:
        asked.append(moment)
        return Source(backup="recovered-000001-20260120T063100Z", recovered=moment.at)

    recorded = mock.Mock(return_value="Recorded")
    monkeypatch.setattr(recovery_drill, "recovered", recovered)
    monkeypatch.setattr("ops.checks.record", recorded)
    assert recovery_drill.drill(cluster, mock.Mock(), settings(), NOW) == "Recorded"
    assert asked == [Moment(at=NOW - dt.timedelta(seconds=1), archive="invoicetron-db", live=True)]
    recorded.assert_called_once_with(cluster.client, PROD, "recovery")


def test_a_recovery_is_recorded_although_the_api_server_restarts(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.kube.cluster._AGAIN", 0.0)
    monkeypatch.setattr(recovery_drill, "recovered", mock.Mock())
    recorded = mock.Mock(side_effect=[ProtocolError("Connection aborted."), "Recorded"])
    monkeypatch.setattr("ops.checks.record", recorded)
    assert recovery_drill.drill(cluster, mock.Mock(), settings(), NOW) == "Recorded"


def test_a_recovery_that_failed_is_not_recorded(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery_drill, "recovered", mock.Mock(side_effect=JobFailedError("no")))
    recorded = mock.Mock()
    monkeypatch.setattr("ops.checks.record", recorded)
    with pytest.raises(JobFailedError):
        recovery_drill.drill(cluster, mock.Mock(), settings(), NOW)
    recorded.assert_not_called()
