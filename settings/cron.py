"""Cron schedules as Kubernetes takes them: five fields, standard names, no time zone inside."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

_WRONG: Final = "five cron fields (minute hour day-of-month month day-of-week), for example 0 3 * * *"
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_DAYS: Final = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_EVERY: Final = {"*", "?", "*/1", "?/1"}
# In 28 years each date falls on each day of the week.
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
        if first > last or step == "0":
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
    """Returns the schedule, or raises ValueError where Kubernetes would refuse it or where it would never come round.

    The rules are those of github.com/robfig/cron `ParseStandard`, less what Kubernetes refuses in a CronJob (TZ=...)
    and less its @every and @daily words, of which nobody can see when they run. Sunday is 0 only, as there.
    """
    texts = schedule.split()
    if len(texts) != len(_FIELDS) or schedule != " ".join(texts):
        raise ValueError(f"{_WRONG}, one space between them")
    if next(_days(texts), None) is None:
        raise ValueError(f"{_WRONG}; no year has such a day")
    return schedule


def longest_pause(schedule: str) -> int:
    """The most days from one run of a schedule that has been checked to the next."""
    days = list(_days(schedule.split()))
    return max(later - earlier for earlier, later in pairwise([*days, days[0] + _CYCLE]))


def _days(texts: list[str]) -> Iterator[int]:
    """The days of the calendar's cycle on which the schedule runs, counted from its first."""
    _, _, days, months, weekdays = (field.values(text) for field, text in zip(_FIELDS, texts, strict=True))
    # Where both name days, cron runs on either.
    either = not any(part in _EVERY for text in (texts[2], texts[4]) for part in text.split(","))
    for number in range(_CYCLE):
        day = _FIRST + dt.timedelta(number)
        matches = day.day in days, day.isoweekday() % 7 in weekdays
        if day.month in months and (any if either else all)(matches):
            yield number
