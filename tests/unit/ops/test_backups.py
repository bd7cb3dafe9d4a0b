"""`ops backups list`: what it shows of a backup, and of the drills that restored it."""

from __future__ import annotations

import datetime as dt
import io
import json
from typing import Any
from unittest import mock

import pytest
from rich.console import Console

from ops import backups
from ops.backups import Listed, Target, list_backups, read_backups, table
from ops.kube.cluster import ClusterError
from ops.kube.job import Job
from ops.results import drills, newest_backup, newest_copy
from ops.terminal import Terminal
from tests.stacks import PROD
from tests.unit.program import load_settings

NOW = dt.datetime(2026, 2, 5, 12, tzinfo=dt.UTC)
NAME = "invoicetron-000012-20260205T030000Z"


def shown(*backups: Listed, restored: dict[str, dt.datetime] | None = None) -> list[list[str]]:
    """The rows as the user sees them, cell by cell."""
    written = io.StringIO()
    Console(width=250, file=written).print(table(backups, restored or {}, now=NOW))
    return [[cell for cell in line.split("  ") if cell.strip()] for line in written.getvalue().splitlines()[1:]]


def test_everything_known_about_a_backup_is_shown() -> None:
    known = Listed(
        name=NAME,
        taken=NOW - dt.timedelta(hours=9),
        dump_bytes=14_000_000,
        database_bytes=31_000_000,
        rows=1_234_567,
        image="registry.example.com:5000/invoicetron/prod:1a2b3c4d",
        migration="20250601000000_items",
        by="rommel@laptop",
    )
    (cells,) = shown(known, restored={NAME: NOW - dt.timedelta(days=3)})
    assert [cell.strip() for cell in cells] == [
        *(NAME, "9 h", "14.0 MB", "31.0 MB", "1,234,567", "20250601000000_items"),
        *("prod:1a2b3c4d", "rommel@laptop", "3 days ago"),
    ]


@pytest.mark.parametrize(
    ("image", "cell"),
    [
        (f"registry.example.com:5000/invoicetron/prod:1a2b3c4d@sha256:{'ab' * 32}", "prod:1a2b3c4d"),
        (f"registry.example.com:5000/invoicetron/prod@sha256:{'ab' * 32}", "prod@abababababab"),
    ],
)
def test_the_digest_of_an_image_is_shortened_or_left_out(image: str, cell: str) -> None:
    (cells,) = shown(Listed(name=NAME, image=image))
    assert cell in [each.strip() for each in cells]


def test_a_name_is_not_cut_in_a_terminal_of_eighty_columns() -> None:
    written = io.StringIO()
    listed = Listed(name=NAME, taken=NOW, rows=1_548, migration="20250601000000_items", image="prod:1a2b3c4d")
    Console(width=80, file=written).print(table([listed], {}, now=NOW))
    assert NAME in written.getvalue()


def test_text_that_looks_like_markup_is_shown_verbatim() -> None:
    (cells,) = shown(Listed(name=NAME, migration="20260101_[/bold]", by="[red]rommel@laptop"))
    assert {"20260101_[/bold]", "[red]rommel@laptop"} <= {each.strip() for each in cells}


def test_unknown_values_are_dashes_and_an_incomplete_backup_is_marked() -> None:
    scheduled = Listed(name=NAME, taken=NOW - dt.timedelta(minutes=70), by="invoicetron-db-backup-29503860")
    damaged = Listed.of_manifest({"name": "invoicetron-000011-20260204T030000Z"})
    first, second = ([cell.strip() for cell in row] for row in shown(scheduled, damaged))
    assert first == [NAME, "70 min", *["-"] * 5, "schedule", "-"]
    assert second[1] == "NOT WHOLE"
    piped, by_hand = Listed(name=NAME, by="invoicetron-db-backup-ci-4711"), Listed(name=NAME, by="by-hand")
    assert [row[-2].strip() for row in shown(piped, by_hand)] == ["pipeline, job 4711", "by-hand"]


@pytest.mark.parametrize(("hours", "cell"), [(2, "in the future"), (0.01, "0 min")])
def test_a_backup_that_a_clock_dated_ahead_is_not_shown_as_fresh(hours: float, cell: str) -> None:
    ahead = Listed(name=NAME, taken=NOW + dt.timedelta(hours=hours))
    (cells,) = shown(ahead)
    assert cells[1].strip() == cell


def test_what_a_list_says_beside_the_backups_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As that a copy cannot be read: it is not among those listed."""
    log = [json.dumps({"name": NAME}), "2026-02-05T12:00:00Z 1 of the copies cannot be read"]
    monkeypatch.setattr(backups, "create", mock.Mock())
    monkeypatch.setattr(backups, "cron_job", mock.Mock())
    monkeypatch.setattr(Job, "follow", lambda job, **_: [job.say(line) for line in log])
    listed = read_backups(mock.Mock(names=PROD), Terminal(), Target.VOLUME)
    assert [one.name for one in listed] == [NAME]
    assert "1 of the copies cannot be read" in capsys.readouterr().out


def test_a_stack_without_copies_is_refused_before_the_cluster_is_asked() -> None:
    cluster = mock.Mock()
    with pytest.raises(ClusterError, match=r"--target s3: stack prod has no off-site copies \(backup.s3\)"):
        list_backups(cluster, Terminal(), load_settings("prod"), Target.S3, now=NOW)
    assert not cluster.mock_calls


@pytest.mark.parametrize(
    ("section", "why"), [("database", "has no database"), ("backup", "give Pulumi.prod.yaml a section")]
)
def test_a_stack_without_backups_is_refused_before_the_cluster_is_asked(section: str, why: str) -> None:
    cluster, settings = mock.Mock(), load_settings("prod").model_copy(update={section: None})
    with pytest.raises(ClusterError, match=why):
        list_backups(cluster, Terminal(), settings, Target.VOLUME, now=NOW)
    assert not cluster.mock_calls


def pod(message: str, *, hours_ago: int, code: int = 0) -> dict[str, Any]:
    ended = (NOW - dt.timedelta(hours=hours_ago)).isoformat().replace("+00:00", "Z")
    terminated = {"exitCode": code, "message": message, "finishedAt": ended}
    return {"status": {"containerStatuses": [{"state": {"terminated": terminated}}]}}


def test_the_last_successful_drill_comes_first_and_nothing_else_counts() -> None:
    def drilled(backup: str) -> str:
        return json.dumps({"drilled": backup, "from": "s3", "rows": 7, "seconds": 2})

    running: dict[str, Any] = {"status": {"containerStatuses": [{"state": {"running": {}}}]}}
    others = [running, {}, pod("", hours_ago=1), pod(drilled("failed"), hours_ago=1, code=1), pod("{}", hours_ago=1)]
    copied = [pod(json.dumps({"newestCopy": name}), hours_ago=hours) for name, hours in (("old", 9), (NAME, 1))]
    pods = [pod(drilled("older"), hours_ago=48), pod(drilled("newer"), hours_ago=24), *copied, *others]
    assert [one.backup for one in drills(pods)] == ["newer", "older"]
    assert str(drills(pods)[0]) == "newer from s3, 7 rows in 2 s"
    assert newest_copy(pods) == NAME
    assert newest_copy(others) is None


def test_the_last_backup_is_reported_with_its_rows_and_size() -> None:
    def taken(name: str) -> str:
        return json.dumps({"backup": name, "rows": 1234, "bytes": 14_000_000, "seconds": 3, "superuser": False})

    of_an_earlier_version = pod(json.dumps({"backup": "unknown", "superuser": False}), hours_ago=1)
    assert newest_backup([of_an_earlier_version]) is None
    pods = [pod(taken("older"), hours_ago=25), of_an_earlier_version, pod(taken("newer"), hours_ago=2)]
    assert str(newest_backup(pods)) == "newer, 1,234 rows, 14.0 MB in 3 s"
