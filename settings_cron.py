"""Cron schedules as Kubernetes takes them: five fields, standard names, no time zone inside."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_WRONG: Final = "five cron fields (minute hour day-of-month month day-of-week), for example 0 3 * * *"
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_DAYS: Final = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_LONGEST: Final = dict.fromkeys(range(1, 13), 31) | {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


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
    _, _, days, months, _ = (field.values(text) for field, text in zip(_FIELDS, texts, strict=True))
    # With a day of the week as well, cron fires on either, so only a lone date can be one that no year has.
    if texts[4][0] in "*?" and min(days) > max(_LONGEST[month] for month in months):
        raise ValueError(f"{_WRONG}; no year has such a day")
    return schedule
