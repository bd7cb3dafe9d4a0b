"""Schedules that alerts watch, and how much time may pass between two runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator

from settings.cron import clock_shows, longest_pause, skipped_run
from settings.errors import refusal
from settings.section import today
from settings.types import CronSchedule

# Daily and weekly, each with time for a late run and a retry.
BACKUP_HOURS: Final = 26
"""Hours after which the last good backup is too old."""
DRILL_HOURS: Final = 8 * 24
"""Hours after which the last good drill is too old."""
CHECK_HOURS: Final = 26
"""Hours after which the last good scheduled check of the stack is too old; these checks run daily."""
RECOVERY: Final = "recovery"
"""The drill of a point-in-time recovery: weekly, if the stack archives its write-ahead log."""
SCHEDULED_CHECKS: Final[Mapping[str, int]] = {"drift": CHECK_HOURS, "verify": CHECK_HOURS, RECOVERY: DRILL_HOURS}
"""Jobs of this repository's pipeline that check the live stack, and after how many hours the last good run is too
old."""
LONGEST_PAUSES: Final = {"daily": 1, "weekly": 7}
"""The most days between two runs, by the required frequency."""


def scheduled_checks(*, archive: bool) -> Mapping[str, int]:
    """The scheduled checks of a stack; `archive`: it archives its write-ahead log."""
    return {check: hours for check, hours in SCHEDULED_CHECKS.items() if archive or check != RECOVERY}


def _check_daily(schedule: str) -> str:
    if longest_pause(schedule) > LONGEST_PAUSES["daily"]:
        raise ValueError(
            f"a schedule that runs every day, because {BACKUP_HOURS} hours without a backup cause an alert; "
            "e.g. 0 3 * * *"
        )
    return schedule


def _check_weekly(schedule: str) -> str:
    if longest_pause(schedule) > LONGEST_PAUSES["weekly"]:
        raise ValueError(
            f"a schedule that runs every week, because {DRILL_HOURS // 24} days without a drill cause an alert; "
            "e.g. 0 4 * * 0"
        )
    return schedule


def check_not_skipped(schedule: str, zone: str, *, pauses: str, key: str = "") -> None:
    """Refuses a schedule with a run in an hour that the zone skips, so that the pause gets too long.

    `pauses` is the required frequency, `daily` or `weekly`; `key` is the schedule's path below the validated field.
    """
    if missed := skipped_run(schedule, zone, longest=LONGEST_PAUSES[pauses], since=today()):
        if clock_shows(missed, zone):
            allowed = f"a day on which {zone} never skips midnight"
            why, fix = "midnight, and Kubernetes passes that whole day by", "take another day of the week"
        else:
            allowed = f"a time that {zone} never skips"
            why, fix = f"{missed:%H:%M}, so that run would be left out", "take a later hour, for example 0 5"
        raise refusal(
            f"{allowed}: on {missed:%Y-%m-%d} the clocks go forward past {why}",
            key=key,
            given=repr(schedule),
            fix=f"{fix}, or timeZone: Etc/UTC",
        )


DailySchedule = Annotated[CronSchedule, AfterValidator(_check_daily)]
WeeklySchedule = Annotated[CronSchedule, AfterValidator(_check_weekly)]
