"""Schedules: those that Kubernetes runs in time are accepted; those that it refuses or skips are refused."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from settings import Settings
from settings.cron import skipped_run
from settings.schedules import DailySchedule, WeeklySchedule
from settings.types import CronSchedule
from tests.stacks import PROD
from tests.unit.stack_files import accepts, refusal, sections, with_value

SINCE = dt.date(2026, 1, 1)


@pytest.mark.parametrize(
    "schedule",
    [
        "0 3 * * *",
        "*/15 0-6,20 1,15 jan-MAR ?",
        "0 4 * * 0",
        "0 4 * * sun",
        "5/15 * * * *",
        "0 0 29 2 *",
        "0 0 31 2 mon",
    ],
)
def test_schedules_that_kubernetes_runs_are_accepted(schedule: str) -> None:
    assert accepts(CronSchedule, schedule)


@pytest.mark.parametrize(
    "schedule",
    [
        "",
        "0 3 * *",
        "0 3 * * * *",
        "60 3 * * *",
        "0 24 * * *",
        "0 3 0 * *",
        "0 3 * 13 *",
        "0 3 * * 7",
        "0 3 * * someday",
        "0 6-3 * * *",
        "*/0 * * * *",
        "*/00 * * * *",
        "1, 3 * * *",
        "0  3 * * *",
        "0 3 * * * ",
        "@daily",
        "TZ=Asia/Manila 0 3 * * *",
        "0 0 31 2 *",
        "0 0 31 4,6,9,11 *",
        "² 3 * * *",
    ],
)
def test_schedules_that_kubernetes_refuses_or_that_never_run_are_refused(schedule: str) -> None:
    with pytest.raises(ValidationError, match="five cron fields"):
        TypeAdapter(CronSchedule).validate_python(schedule)


@pytest.mark.parametrize(
    ("schedule", "daily", "weekly"),
    [
        ("0 3 * * *", True, True),
        ("*/5 8-18 ? * *", True, True),
        ("0 3 1-31 * mon", True, True),
        ("0 3 * * 1-5", False, True),
        ("0 3 */2 * *", False, True),
        ("0 4 * * 0", False, True),
        ("0 4 1,8,15,22,29 * *", False, True),
        ("0 4 1,8,15,22 * *", False, False),
        ("0 4 1,8,15,22 * sun", False, True),
        ("0 3 * 1-11 *", False, False),
        ("0 4 1 * *", False, False),
        ("0 0 29 2 *", False, False),
    ],
)
def test_a_schedule_with_longer_pauses_than_its_alert_allows_is_refused(
    schedule: str, *, daily: bool, weekly: bool
) -> None:
    assert (accepts(DailySchedule, schedule), accepts(WeeklySchedule, schedule)) == (daily, weekly)


@pytest.mark.parametrize(
    ("schedule", "zone", "missed"),
    [
        ("30 2 * * *", "Europe/Berlin", "2026-03-29 02:30"),
        ("0 2 * * *", "Europe/Berlin", "2026-03-29 02:00"),
        ("0,30 2 * * *", "Europe/Berlin", "2026-03-29 02:00"),
        ("30 1 * * *", "Europe/London", "2026-03-29 01:30"),
        ("30 3 * * *", "Europe/Athens", "2026-03-29 03:30"),
        ("30 2 * * *", "America/New_York", "2026-03-08 02:30"),
        ("0 0 * * *", "Africa/Cairo", "2026-04-24 00:00"),
        ("30 23 * * *", "America/Nuuk", "2026-03-28 23:30"),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04 02:15"),
        ("45 1 * * *", "Antarctica/Troll", "2026-03-29 01:45"),
        # Set back for Ramadan, forward after it.
        ("30 2 * * *", "Africa/Casablanca", "2026-03-22 02:30"),
    ],
)
def test_a_daily_time_that_the_clocks_skip_is_found(schedule: str, zone: str, missed: str) -> None:
    assert str(skipped_run(schedule, zone, longest=1, since=SINCE)) == f"{missed}:00"


@pytest.mark.parametrize(
    ("schedule", "zone"),
    [
        ("30 2 * * *", "Etc/UTC"),
        ("30 2 * * *", "Asia/Manila"),
        ("59 1 * * *", "Europe/Berlin"),
        ("0 3 * * *", "Europe/Berlin"),
        ("30 2,14 * * *", "Europe/Berlin"),
        ("*/15 * * * *", "Europe/Berlin"),
        ("0,30 2 * * *", "Australia/Lord_Howe"),
        # Europe/Istanbul gave up summer time in 2016.
        ("30 3 * * *", "Europe/Istanbul"),
    ],
)
def test_a_daily_time_that_exists_every_day_is_not_found(schedule: str, zone: str) -> None:
    assert skipped_run(schedule, zone, longest=1, since=SINCE) is None


@pytest.mark.parametrize(
    ("schedule", "missed"),
    [
        ("30 2 * * 0", "2026-03-29 02:30:00"),
        ("30 2 * * sun", "2026-03-29 02:30:00"),
        ("30 2 29 3 0", "2026-03-29 02:30:00"),
        ("30 2 * * 1", "None"),
        ("30 2 * * 0,3", "None"),
        ("30 2 * * *", "None"),
    ],
)
def test_a_weekly_time_is_missed_where_no_other_run_of_that_week_follows(schedule: str, missed: str) -> None:
    assert str(skipped_run(schedule, "Europe/Berlin", longest=7, since=SINCE)) == missed


@pytest.mark.parametrize(
    ("schedule", "zone", "missed"),
    [
        ("0 4 * * 0", "Asia/Beirut", "2026-03-29 04:00:00"),
        ("0,30 4,20 * * 5", "Africa/Cairo", "2026-04-24 04:00:00"),
        ("0 4 * * 2,5", "Africa/Cairo", "None"),
        ("0 4 * * 4", "Africa/Cairo", "None"),
        # It runs on the day before, too: the scheduler then walks through that night hour by hour.
        ("0 4 * * 4,5", "Africa/Cairo", "None"),
        ("0 4 * * *", "Africa/Cairo", "None"),
        # West of Greenwich, Go puts the missing midnight an hour back instead of ahead, which the scheduler corrects.
        ("0 4 * * 0", "America/Santiago", "None"),
        ("0 4 * * 0", "Atlantic/Azores", "None"),
        ("0 4 * * 0", "Europe/Berlin", "None"),
    ],
)
def test_a_weekly_run_is_missed_on_a_day_without_a_midnight(schedule: str, zone: str, missed: str) -> None:
    assert str(skipped_run(schedule, zone, longest=7, since=SINCE)) == missed


@given(hour=st.integers(0, 23), minute=st.integers(0, 59), zone=st.sampled_from(["Europe/Berlin", "America/Santiago"]))
def test_no_clock_shows_a_time_that_is_found_and_every_clock_shows_the_others(
    hour: int, minute: int, zone: str
) -> None:
    def shown(day: dt.date) -> bool:
        start = dt.datetime.combine(day - dt.timedelta(1), dt.time(12), dt.UTC)
        minutes = (start + dt.timedelta(minutes=15 * n + minute % 15) for n in range(4 * 48))
        local = (moment.astimezone(ZoneInfo(zone)) for moment in minutes)
        return any((one.date(), one.hour, one.minute) == (day, hour, minute) for one in local)

    missed = skipped_run(f"{minute} {hour} * * *", zone, longest=1, since=SINCE)
    going_forward = {"Europe/Berlin": dt.date(2026, 3, 29), "America/Santiago": dt.date(2026, 9, 6)}[zone]
    assert shown(going_forward) == (missed is None)
    assert missed is None or not shown(missed.date())


@pytest.mark.parametrize(
    ("key", "schedule"), [("schedule", "30 2 * * *"), ("drillSchedule", "30 2 * * 0"), ("schedule", "0 2 1-31 * *")]
)
def test_a_time_that_the_zone_skips_is_refused_with_the_day(key: str, schedule: str) -> None:
    config = with_value("prod", "backup", {"timeZone": "Europe/Berlin", key: schedule})
    message = refusal("prod", config)
    assert f"invoicetron:backup.{key}\n      given:   {schedule!r}" in message
    assert "a time that Europe/Berlin never skips: on 2" in message
    assert "for example 0 5, or timeZone: Etc/UTC" in message


def test_a_weekly_schedule_on_a_day_without_a_midnight_is_refused_with_what_helps() -> None:
    message = refusal("prod", with_value("prod", "backup", {"timeZone": "Asia/Beirut"}))
    assert "invoicetron:backup.drillSchedule\n      given:   '0 4 * * 0'" in message
    assert "another day of the week" in message
    assert Settings.load(PROD, with_value("prod", "backup", {"timeZone": "Asia/Beirut", "drillSchedule": "0 4 * * 6"}))


def with_schedule(schedule: str) -> dict[str, Any]:
    return with_value("prod", "repository.infrastructure", {"project": "a/b", "schedule": schedule})


@pytest.mark.parametrize(
    "schedule", ["30 6 * * *", "05 06 * * *", "0,30 6-20/2 * * *", "*/15 */2 * * *", "5/10 6 * * *", "0 * * * *"]
)
def test_a_daily_schedule_that_gitlab_reads_as_kubernetes_does_is_accepted(schedule: str) -> None:
    assert Settings.load(PROD, with_schedule(schedule))


@pytest.mark.parametrize(
    "schedule",
    [
        # GitLab's parser, Fugit, refuses these ...
        "30 6 ? * *",
        "? 6 * * *",
        "*/100 * * * *",
        "0 0/006 * * *",
        "007 6 * * *",
        # ... and reads these as Sundays, Mondays and Mondays.
        "30 6 * * 0/1",
        "30 6 * * *,1",
        "30 6 1-31 * mon",
    ],
)
def test_a_schedule_that_gitlab_refuses_or_reads_otherwise_is_refused(schedule: str) -> None:
    assert accepts(DailySchedule, schedule)
    message = refusal("prod", with_schedule(schedule))
    assert f"invoicetron:repository.infrastructure.schedule\n      given:   {schedule!r}" in message
    assert "GitLab knows no ?, and reads days otherwise than Kubernetes; e.g. 30 6 * * *" in message


def test_schedules_that_the_refusal_proposes_are_accepted_in_every_zone() -> None:
    proposed = {"schedule": "0 5 * * *", "drillSchedule": "0 5 * * 0"}
    for zone in (
        "Europe/Berlin",
        "Europe/Athens",
        "Africa/Cairo",
        "America/Nuuk",
        "Antarctica/Troll",
        "Pacific/Easter",
    ):
        assert Settings.load(PROD, sections("prod") | {"backup": {"timeZone": zone, **proposed}})
