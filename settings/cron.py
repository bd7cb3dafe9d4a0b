"""Cron schedules as Kubernetes accepts them: five fields, standard names, no time zone."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count, pairwise
from typing import Final
from zoneinfo import ZoneInfo

_WRONG: Final = "five cron fields (minute hour day-of-month month day-of-week), for example 0 3 * * *"
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_DAYS: Final = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_EVERY: Final = {"*", "?", "*/1", "?/1"}
# Within 28 years, each date falls on each day of the week.
_FIRST: Final = dt.date(2001, 1, 1)
_CYCLE: Final = (dt.date(2029, 1, 1) - _FIRST).days


@dataclass(frozen=True)
class _Field:
    name: str
    first: int
    last: int
    names: dict[str, int]

    def values(self, text: str) -> set[int]:
        return {value for part in text.split(",") for value in self._part(part)}

    def _part(self, part: str) -> range:
        found = re.fullmatch(r"(?:([*?])|(\w+)(?:-(\w+))?)(?:/(\d+))?", part, re.ASCII)
        if found is None:
            raise ValueError(f"{_WRONG}; the {self.name} is not a number, name, range, list or step")
        every, start, end, step = found.groups()
        first = self.first if every else self._number(start)
        # "5/15" runs from 5 to the end of the field, as in the parser that Kubernetes uses (robfig/cron).
        last = self.last if every or (step and not end) else self._number(end or start)
        if first > last or int(step or 1) == 0:
            raise ValueError(f"{_WRONG}; a range of the {self.name} runs upwards, its step is at least 1")
        return range(first, last + 1, int(step or 1))

    def _number(self, text: str) -> int:
        number = self.names.get(text.lower(), int(text) if text.isascii() and text.isdigit() else -1)
        if not self.first <= number <= self.last:
            raise ValueError(f"{_WRONG}; the {self.name} runs from {self.first} to {self.last}")
        return number


_FIELDS: Final = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _DAYS),
)


def check_cron(schedule: str) -> str:
    """Returns the schedule; raises ValueError if Kubernetes would refuse it, or if it would never run.

    The rules are those of github.com/robfig/cron `ParseStandard`, without what Kubernetes refuses in a CronJob (TZ=...)
    and without @every and @daily, which do not show when they run. As there, Sunday is only 0.
    """
    texts = schedule.split()
    if len(texts) != len(_FIELDS) or schedule != " ".join(texts):
        raise ValueError(f"{_WRONG}, one space between them")
    for field, text in zip(_FIELDS, texts, strict=True):
        field.values(text)
    if next(_days(texts[2:]), None) is None:
        raise ValueError(f"{_WRONG}; no year has such a day")
    return schedule


def longest_pause(schedule: str) -> int:
    """The most days between two runs of a schedule that `check_cron` has accepted."""
    return _longest_pause(*schedule.split()[2:])


@cache  # nearly every schedule runs every day, and walking through 28 years takes milliseconds
def _longest_pause(*texts: str) -> int:
    days = list(_days(texts))
    return max(later - earlier for earlier, later in pairwise([*days, days[0] + _CYCLE]))


def skipped_run(schedule: str, zone: str, *, longest: int, since: dt.date) -> dt.datetime | None:
    """The first skipped run in the ten years from `since` that leaves a pause of more than `longest` days; else None.

    When the clocks of the zone go forward, they skip some times. Kubernetes never runs a Job that is due then
    (robfig/cron: "jobs scheduled during daylight-savings leap-ahead transitions will not be run"). It runs none at all
    on a day that it passes by. The caller has checked the schedule: apart from such days, its pauses are no longer than
    `longest`.
    """
    texts = schedule.split()
    runs_on = _calendar(texts[2:])
    minutes, hours = (field.values(text) for field, text in zip(_FIELDS[:2], texts[:2], strict=True))
    times = [dt.time(hour, minute) for hour in sorted(hours) for minute in sorted(minutes)]
    for day in _days_of_going_forward(zone, since):
        due = [dt.datetime.combine(day, time) for time in times] if runs_on(day) else []
        passed_by = _loses_its_midnight(day, zone) and not runs_on(day - dt.timedelta(1))
        if due and (passed_by or not any(clock_shows(time, zone) for time in due)):
            before, after = (next(n for n in count(1) if runs_on(day + dt.timedelta(way * n))) for way in (-1, 1))
            if before + after > longest:
                return due[0]
    return None


@cache
def _days_of_going_forward(zone: str, since: dt.date) -> tuple[dt.date, ...]:
    midnights = [dt.datetime.combine(since, dt.time.min, ZoneInfo(zone)) + dt.timedelta(n) for n in range(3653)]
    offsets = [midnight.utcoffset() or dt.timedelta() for midnight in midnights]
    ways = zip(midnights, pairwise(offsets), strict=False)
    return tuple(midnight.date() for midnight, (before, after) in ways if after > before)


def clock_shows(time: dt.datetime, zone: str) -> bool:
    """Whether the clocks of the zone show this time on its day; they skip it when they go forward past it."""
    there_and_back = time.replace(tzinfo=ZoneInfo(zone)).astimezone(dt.UTC).astimezone(ZoneInfo(zone))
    return there_and_back.replace(tzinfo=None, fold=0) == time


def _loses_its_midnight(day: dt.date, zone: str) -> bool:
    """Whether Kubernetes passes the day by if it comes from a day without a run: it counts from midnight to midnight.

    Go reads a midnight that the clocks skip as 1:00, from which robfig/cron goes back an hour, into the day before, and
    from there a day on, to the midnight after. West of Greenwich Go reads it as 23:00, which robfig/cron corrects.
    """
    midnight = dt.datetime.combine(day, dt.time.min)
    offset = midnight.replace(tzinfo=ZoneInfo(zone)).utcoffset() or dt.timedelta()
    return not clock_shows(midnight, zone) and offset >= dt.timedelta()


def _days(texts: Sequence[str]) -> Iterator[int]:
    """The days, counted from 0, of the calendar's cycle on which a schedule with these last three fields runs."""
    runs_on = _calendar(texts)
    return (number for number in range(_CYCLE) if runs_on(_FIRST + dt.timedelta(number)))


def _calendar(texts: Sequence[str]) -> Callable[[dt.date], bool]:
    """A function that tells whether a schedule with these last three fields runs on a day."""
    days, months, weekdays = (field.values(text) for field, text in zip(_FIELDS[2:], texts, strict=True))
    # If both fields restrict the days, cron runs on days that match either.
    either = not any(part in _EVERY for text in (texts[0], texts[2]) for part in text.split(","))
    combine = any if either else all

    def runs_on(day: dt.date) -> bool:
        return day.month in months and combine((day.day in days, day.isoweekday() % 7 in weekdays))

    return runs_on
