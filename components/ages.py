"""How old a recorded time is, and when that says nothing."""

from __future__ import annotations

import datetime as dt
from typing import Final

AHEAD_SECONDS: Final = 3600
"""By how much a recorded time may be in the future, because two clocks differ.

A later one was recorded by a clock that was wrong. It says nothing of an age, and hides what is recorded after it:
Kubernetes and barman keep the latest.
"""


def is_ahead(time: dt.datetime, *, now: dt.datetime) -> bool:
    """Whether a recorded time is so far in the future that the clock that recorded it was wrong."""
    return (time - now).total_seconds() > AHEAD_SECONDS


def too_old(since: str, *, hours: int) -> str:
    """PromQL that finds a Unix time that is too long ago, or in the future; `since` is PromQL for that time."""
    return f"time() - {since} > {hours * 3600} or {since} - time() > {AHEAD_SECONDS}"
