"""`ops restore --from <time>` or `latest`: which backup that is, before the user is asked."""

from __future__ import annotations

import datetime as dt
from unittest import mock

import pytest

from ops import offsite
from ops.backups import Listed, Target
from ops.restore import RestoreRequest, parse_request
from ops.restore import named as module
from ops.restore.named import named, newest_at
from ops.restore.source import Source, SourceError, parse_source
from ops.terminal import Terminal
from tests.stacks import PROD
from tests.unit.program import load_settings

UTC = dt.UTC
NOW = dt.datetime(2026, 2, 8, 10, 0, tzinfo=UTC)


def backup(number: int, hour: int, minute: int, *, kind: str = "invoicetron") -> Listed:
    taken = dt.datetime(2026, 2, 5, hour, minute, tzinfo=UTC)
    return Listed(name=f"{kind}-{number:06}-{taken:%Y%m%dT%H%M%SZ}", taken=taken)


def asked(given: str) -> RestoreRequest:
    source = parse_source(given, names=PROD, limit=1)
    return RestoreRequest(stack="prod", source=source, expectation=None, clear_sessions=False)


@pytest.mark.parametrize(
    ("given", "zone", "expected"),
    [
        ("2026-01-20 14:05", "Etc/UTC", dt.datetime(2026, 1, 20, 14, 5, tzinfo=UTC)),
        ("2026-01-20T14:05:30", "Etc/UTC", dt.datetime(2026, 1, 20, 14, 5, 30, tzinfo=UTC)),
        ("2026-01-20 14:05", "Asia/Manila", dt.datetime(2026, 1, 20, 6, 5, tzinfo=UTC)),
        ("2026-01-20 14:05Z", "Asia/Manila", dt.datetime(2026, 1, 20, 14, 5, tzinfo=UTC)),
        ("2026-01-20 14:05 UTC", "Asia/Manila", dt.datetime(2026, 1, 20, 14, 5, tzinfo=UTC)),
        ("2026-01-20T14:05+01:00", "Asia/Manila", dt.datetime(2026, 1, 20, 13, 5, tzinfo=UTC)),
        ("2025-10-26 02:30+02:00", "Europe/Berlin", dt.datetime(2025, 10, 26, 0, 30, tzinfo=UTC)),
    ],
)
def test_a_time_is_in_the_stack_s_zone_unless_it_names_its_own(given: str, zone: str, expected: dt.datetime) -> None:
    for prefix in ("", "s3:"):
        source = parse_source(prefix + given, names=PROD, limit=1, zone=zone)
        assert (source.at, source.backup, source.file) == (expected, None, None)
        assert source.offsite == bool(prefix)
        assert f"{expected:%Y-%m-%d %H:%M:%S} UTC" in str(source)
        assert source.scope.startswith("a backup of this program")


def test_a_time_in_another_zone_is_shown_in_both() -> None:
    source = parse_source("2026-01-20 14:05", names=PROD, limit=1, zone="Asia/Manila")
    assert str(source) == "the newest backup of 2026-01-20 14:05:00 PST (2026-01-20 06:05:00 UTC) or before"


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("2025-10-26 02:30", r"the clocks change at that time in Europe/Berlin \(backup.timeZone\): add Z"),
        ("2026-03-29 02:30", r"the clocks change at that time in Europe/Berlin"),
        ("2026-13-01 02:30", "month must be in 1..12"),
        ("2999-01-01 00:00Z", "2999-01-01 00:00:00 UTC is in the future; the newest backup is: latest"),
        ("2026-01-20", "nor a time such as '2026-11-20 14:05'"),
        ("2026-01-20 at noon", "nor a time such as"),
        ("2026-01-20 14:05+99:00", "nor a time such as"),
        ("2026-01-20 14:05+01:60", "nor a time such as"),
    ],
)
def test_an_invalid_future_or_ambiguous_time_is_refused(given: str, reason: str) -> None:
    with pytest.raises(SourceError, match=reason):
        parse_source(given, names=PROD, limit=1, zone="Europe/Berlin")


def test_text_after_s3_that_is_not_a_time_is_refused_with_an_example() -> None:
    with pytest.raises(SourceError, match=r"or by a time, e\.g\. 's3:2026-11-20 14:05'"):
        parse_source("s3:yesterday", names=PROD, limit=1)


@pytest.mark.parametrize(("hour", "minute", "number"), [(9, 59, 12), (9, 0, 12), (8, 59, 11), (23, 0, 13)])
def test_the_newest_backup_at_or_before_the_time_is_chosen(hour: int, minute: int, number: int) -> None:
    backups = [
        backup(12, 9, 0),
        backup(11, 8, 0),
        backup(13, 10, 0),
        backup(14, 8, 30, kind="before-restore"),
        Listed(name="invoicetron-000015-20260205T083000Z"),
    ]
    at = dt.datetime(2026, 2, 5, hour, minute, tzinfo=UTC)
    name, taken = newest_at(backups, at, names=PROD, target=Target.VOLUME)
    assert name.startswith(f"invoicetron-{number:06}-")
    assert taken <= at


def test_the_nearest_backups_are_named_if_none_is_old_enough() -> None:
    backups = [backup(number, number, 0) for number in (9, 7, 8, 6)]
    at = dt.datetime(2026, 2, 5, 5, tzinfo=UTC)
    with pytest.raises(SourceError) as told:
        newest_at(backups, at, names=PROD, target=Target.S3)
    assert str(told.value) == (
        "--from: no backup off-site was taken at 2026-02-05 05:00:00 UTC or before; the nearest of 4:\n"
        "    invoicetron-000006-20260205T060000Z, taken at 2026-02-05 06:00:00 UTC\n"
        "    invoicetron-000007-20260205T070000Z, taken at 2026-02-05 07:00:00 UTC\n"
        "    invoicetron-000008-20260205T080000Z, taken at 2026-02-05 08:00:00 UTC"
    )
    with pytest.raises(SourceError, match="there is none on the volume at all"):
        newest_at([], at, names=PROD, target=Target.VOLUME)


@pytest.mark.parametrize(("given", "target"), [("2026-02-05 09:00", Target.VOLUME), ("s3:2026-02-05 09:00", Target.S3)])
def test_the_backup_is_looked_up_in_the_requested_place(
    monkeypatch: pytest.MonkeyPatch, given: str, target: Target
) -> None:
    read = mock.Mock(return_value=[backup(12, 9, 0)])
    monkeypatch.setattr(module, "read_backups", read)
    cluster, terminal = mock.Mock(names=PROD), Terminal()
    request = asked(given)
    with pytest.raises(ValueError, match="has no name yet"):
        _ = request.environment
    found = named(cluster, terminal, request, now=NOW)
    assert found.source == Source(backup="invoicetron-000012-20260205T090000Z", offsite=target is Target.S3)
    assert read.call_args.args == (cluster, terminal, target)
    assert named(mock.Mock(), terminal, found, now=NOW) is found


@pytest.mark.parametrize("offsite_", [False, True])
def test_the_latest_gets_its_name_and_age_before_anybody_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, offsite_: bool
) -> None:
    newest = backup(12, 9, 0)
    unlike = [Listed(name="invoicetron-000014-20260207T083000Z"), backup(13, 10, 0, kind="before-restore")]
    monkeypatch.setattr(module, "read_backups", mock.Mock(return_value=[*unlike, newest, backup(11, 8, 0)]))
    monkeypatch.setattr(offsite, "newest", mock.Mock(return_value=newest.name))
    found = named(mock.Mock(names=PROD), Terminal(), asked("s3:latest" if offsite_ else "latest"), now=NOW)
    assert found.source == Source(backup=newest.name, offsite=offsite_)
    where = "copy off-site" if offsite_ else "backup on the volume"
    assert capsys.readouterr().out == f"{newest.name} is the newest {where}; it is 3 days old.\n"


def test_a_volume_without_a_complete_backup_is_refused_before_the_app_is_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    incomplete = Listed(name="invoicetron-000014-20260207T083000Z")
    monkeypatch.setattr(module, "read_backups", mock.Mock(return_value=[incomplete]))
    with pytest.raises(SourceError, match="--from latest: there is no backup on the volume"):
        named(mock.Mock(names=PROD), Terminal(), asked("latest"), now=NOW)


def test_the_time_zone_comes_from_the_stack_file() -> None:
    settings = load_settings("prod")
    assert settings.backup is not None
    zoned = settings.model_copy(update={"backup": settings.backup.model_copy(update={"time_zone": "Asia/Manila"})})
    request = parse_request(zoned, source="2026-01-20 14:05", expect=None, clear_sessions=False)
    assert request.source.at == dt.datetime(2026, 1, 20, 6, 5, tzinfo=UTC)
