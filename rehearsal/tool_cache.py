"""The user's cache of the rehearsal's tools: the lock for filling it, and how long each part took."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from rehearsal.progress import spoken, step

_TIMINGS: Final = "timings.json"


def timings(cache: Path) -> dict[str, float]:
    """Seconds that each part of the set-up took when this cache was filled."""
    file = cache / _TIMINGS
    found: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    return found


@contextmanager
def timed(cache: Path, what: str, *, usually: str, which: str = "") -> Iterator[None]:
    """A step of the set-up that records its duration, for the next set-up here and for `make bench`.

    `which`: its position among the steps, e.g. "2 of 4: ".
    """
    last = _last_time(cache, what)
    started = time.monotonic()
    with step(f"{which}{what}", usually=usually if last is None else f"{spoken(last)}, as last time on this machine"):
        yield
    new = (cache / _TIMINGS).with_suffix(".new")
    new.write_text(json.dumps({**timings(cache), what: time.monotonic() - started}))
    new.rename(cache / _TIMINGS)


@contextmanager
def alone(cache: Path) -> Iterator[None]:
    """Locks the cache: two set-ups at once would build everything twice. The second one waits and finds it built."""
    lock = FileLock(cache / "lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        with step("waiting for another set-up that builds the same tools", usually="up to 10 min"):
            lock.acquire()
    try:
        for abandoned in cache.glob("tmp*"):  # by a set-up that was killed
            shutil.rmtree(abandoned)
        yield
    finally:
        lock.release()


def _last_time(cache: Path, what: str) -> float | None:
    """Seconds that a part of the set-up last took on this machine, whichever versions were pinned then."""
    files = sorted(cache.parent.glob(f"*/{_TIMINGS}"), key=lambda file: file.stat().st_mtime, reverse=True)
    found: list[float] = [took[what] for took in map(json.loads, map(Path.read_text, files)) if what in took]
    return found[0] if found else None
