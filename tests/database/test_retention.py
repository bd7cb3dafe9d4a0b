"""Which backups retention.sh removes: properties over random histories, clocks that jump, and foreign files."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.database.pod import SCRIPTS

_SHELL = "/bin/sh"
# A history: seconds from each backup to the next. Mostly about a day, as with a CronJob; sometimes the clock jumps.
_STEPS = st.lists(
    st.one_of(
        st.integers(80_000, 90_000), st.integers(1, 100_000), st.integers(-40 * 86_400, 40 * 86_400), st.just(86_400)
    ),
    max_size=60,
)
_KEEP = st.fixed_dictionaries(
    {"KEEP_DAILY": st.integers(1, 10), "KEEP_WEEKLY": st.integers(0, 6), "KEEP_MONTHLY": st.integers(0, 4)}
)


def history(steps: list[int]) -> list[str]:
    """Names of the backups, oldest first."""
    now = dt.datetime(2026, 1, 27, 3, tzinfo=dt.UTC)
    names = []
    for number, step in enumerate([0, *steps], start=1):
        now += dt.timedelta(seconds=step)
        names.append(f"invoicetron-{number:06}-{now:%Y%m%dT%H%M%SZ}")
    return names


def date_of(name: str) -> dt.date:
    return dt.datetime.strptime(name.rsplit("-", 1)[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC).date()


def last_two_days(names: list[str]) -> list[str]:
    """The backups of the last two days that have one, whatever the clock has said since."""
    days = list(dict.fromkeys(date_of(name) for name in reversed(names)))[:2]
    return [name for name in names if date_of(name) in days]


def removed(names: list[str], keep: dict[str, int], kind: str = "invoicetron") -> list[str]:
    """The output of `retention.sh plan` for the names, which are given oldest first."""
    done = subprocess.run(
        [_SHELL, str(SCRIPTS / "retention.sh"), "plan", kind],
        input="".join(f"{name}\n" for name in reversed(names)),
        env={"PATH": os.environ["PATH"], **{key: str(value) for key, value in keep.items()}},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.split()


@given(_STEPS, _KEEP)
@settings(max_examples=150)
def test_all_of_the_last_two_days_are_kept_and_of_each_period_its_newest(
    steps: list[int], keep: dict[str, int]
) -> None:
    names = history(steps)
    left = [name for name in names if name not in removed(names, keep)]
    recent = last_two_days(names)
    assert set(recent) <= set(left), "a backup of the last two days is gone"
    periods: dict[str, Callable[[dt.date], object]] = {
        "KEEP_DAILY": lambda date: date.isoformat(),
        "KEEP_WEEKLY": lambda date: date.isocalendar()[:2],
        "KEEP_MONTHLY": lambda date: (date.year, date.month),
    }
    wanted: set[str] = set()
    for setting, period in periods.items():
        newest: dict[object, str] = {}
        for name in reversed(names):
            newest.setdefault(period(date_of(name)), name)
        wanted.update(list(newest.values())[: keep[setting]])
    assert set(left) == wanted | set(recent)


@given(_STEPS, _KEEP)
@settings(max_examples=60)
def test_pruning_after_each_backup_never_grows_or_loses_the_recent_days(steps: list[int], keep: dict[str, int]) -> None:
    present: list[str] = []
    for name in history(steps[:25]):
        present.append(name)
        gone = removed(present, keep)
        present = [each for each in present if each not in gone]
        assert len(present) <= sum(keep.values()) + len(last_two_days(present))
    again = removed(present, keep)
    assert again == [], "pruning twice removes more"


def test_a_backup_from_before_a_migration_and_the_nightly_one_of_the_same_day_are_both_kept() -> None:
    names = history([86_400, 43_200, 43_200, 86_400])
    assert removed(names[:3], {"KEEP_DAILY": 1}) == []
    assert removed(names[:4], {"KEEP_DAILY": 7}) == [], "not by the next night's either"
    assert removed(names, {"KEEP_DAILY": 7}) == [names[1]], "older days keep their newest"


@given(st.integers(0, 8))
@settings(max_examples=9)
def test_the_last_three_dumps_from_before_a_restore_are_kept(count: int) -> None:
    names = [name.replace("invoicetron", "before-restore") for name in history([60] * count)]
    assert removed(names, {"KEEP_DAILY": 1}, "before-restore") == names[:-3][::-1]


def write_backup(directory: Path, name: str, *, size: int = 5) -> Path:
    """Makes what retention.sh takes for a backup."""
    path = directory / name
    path.mkdir()
    (path / "database.dump").write_bytes(b"x" * size)
    (path / "manifest.json").write_text(json.dumps({"format": 1, "name": name, "dumpBytes": 5, "z": 0}, indent=2))
    return path


def tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


# backup.sh never writes these, however much they look like its backups.
_FOREIGN = st.lists(
    st.sampled_from(
        [
            "notes.txt",
            "invoicetron_20260204_182224.sql",
            "invoicetron-000001-20200101T000000Z.dump",
            "invoicetron-999999-20990101T000000Z",
            "invoicetron-1-20200101T000000Z",
            "invoicetron-backup",
            "other-000001-20200101T000000Z",
            "a name\nwith a newline",
            "-rf",
        ]
    ),
    unique=True,
)


@given(_STEPS, _KEEP, _FOREIGN, st.data())
@settings(max_examples=25)
def test_only_whole_backups_of_its_own_are_removed(
    steps: list[int], keep: dict[str, int], foreign: list[str], data: st.DataObject
) -> None:
    names = history(steps[:12])
    with TemporaryDirectory() as folder:
        directory = Path(folder)
        short = set(data.draw(st.lists(st.sampled_from(names), unique=True, max_size=3), label="truncated"))
        visited = set(data.draw(st.lists(st.sampled_from(names), unique=True, max_size=3), label="with a foreign file"))
        for name in names:
            path = write_backup(directory, name, size=4 if name in short else 5)
            if name in visited:
                (path / "letter.txt").touch()
        for name in foreign:
            if name.endswith("Z"):
                (directory / name).mkdir()
                (directory / name / "mine").touch()
            else:
                (directory / name).touch()
        before = tree(directory)
        subprocess.run(
            [_SHELL, str(SCRIPTS / "retention.sh"), "prune", "invoicetron"],
            env={"PATH": os.environ["PATH"], "BACKUPS": folder, **{key: str(value) for key, value in keep.items()}},
            stdout=subprocess.DEVNULL,
            check=True,
        )
        good = [name for name in names if name not in short]
        planned = set(removed(good, keep)) - visited
        gone = {path for name in planned for path in (name, f"{name}/database.dump", f"{name}/manifest.json")}
        assert tree(directory) == before - gone
