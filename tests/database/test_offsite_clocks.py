"""Which copy is the newest, where a clock was ahead or behind as its backup was taken, or the numbers started again."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import fill
from tests.database.pod import Pod
from tests.database.test_offsite import copies, last_line, tags

AHEAD, BEHIND = datetime(2027, 6, 1, 3, tzinfo=UTC), datetime(2025, 6, 1, 3, tzinfo=UTC)


def at(day: int, hour: int = 3) -> datetime:
    return datetime(2026, 1, day, hour, tzinfo=UTC)


def take(pod: Pod, clock: datetime) -> str:
    """Takes a backup while the clock shows this time; returns its name."""
    pod.set_clock(clock)
    before = set(pod.names())
    done = pod.run("backup.sh", DUMP_COMPRESSION="none")
    assert done.returncode == 0, done.stdout
    (name,) = set(pod.names()) - before
    return name


def lose_the_volume(pod: Pod) -> None:
    shutil.rmtree(pod.backups)
    pod.folder(pod.backups)


@pytest.mark.parametrize(
    ("volumes", "now"),
    [
        pytest.param([[at(1), AHEAD, at(2)]], at(3), id="one that is dated ahead is older than what came after it"),
        pytest.param([[at(1), at(2), AHEAD]], at(3), id="one that is dated ahead may be the newest"),
        pytest.param([[at(1), at(2)]], BEHIND, id="all of them, where the clock is behind now"),
        pytest.param([[at(1), at(2)], [at(3)]], at(4), id="after a lost volume the numbers started again"),
        pytest.param([[at(1), AHEAD, at(2)], [at(3)]], at(4), id="both"),
    ],
)
def test_the_newest_copy_is_the_one_that_was_taken_last(
    pod: Pod, server: PostgresServer, offsite: dict[str, str], volumes: list[list[datetime]], now: datetime
) -> None:
    fill(server)
    for volume in volumes:
        lose_the_volume(pod)
        names = [take(pod, clock) for clock in volume]
        assert pod.run("upload.sh", **offsite).returncode == 0
    lose_the_volume(pod)
    pod.set_clock(now)
    done = pod.run("fetch.sh", FETCH="latest", **offsite)
    assert done.returncode == 0, done.stdout
    assert last_line(done) == f"FETCHED {names[-1]}"


def test_the_newest_backup_keeps_its_copy_although_a_clock_that_was_behind_has_dated_it(
    pod: Pod, server: PostgresServer, offsite: dict[str, str]
) -> None:
    """As on the volume. Forgotten by its date, each upload would copy it again, and forget it again."""
    fill(server)
    keep = {"KEEP_DAILY": "1", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0"}
    for clock in (at(1), at(9), BEHIND):
        newest = take(pod, clock)
    done = pod.run("upload.sh", **keep, **offsite)
    assert done.returncode == 0, done.stdout
    assert newest in {tags(copy)["name"] for copy in copies(pod, offsite)}
    take(pod, at(20))
    done = pod.run("upload.sh", **{**keep, "KEEP_WITHIN": "1d"}, **offsite)
    assert done.returncode == 0, done.stdout
    assert [tags(copy)["name"] for copy in copies(pod, offsite)] == [pod.names()[-1]]


def test_on_a_new_volume_the_numbers_continue_and_a_fetched_copy_of_before_is_not_the_newest(
    pod: Pod, server: PostgresServer, offsite: dict[str, str]
) -> None:
    fill(server)
    before = [take(pod, at(number)) for number in range(1, 4)][-1]
    assert pod.run("upload.sh", **offsite).returncode == 0
    lose_the_volume(pod)
    take(pod, at(4))
    assert pod.run("upload.sh", **offsite).returncode == 0
    newest = take(pod, at(5))
    done = pod.run("fetch.sh", FETCH=before, **offsite)
    assert done.returncode == 0, done.stdout
    done = pod.run("drill.sh", DRILL=str(pod.drill))
    assert done.returncode == 0, done.stdout
    assert f"{newest} restores completely" in last_line(done)
    done = pod.run("upload.sh", **offsite)
    assert f"uploaded {newest}" in done.stdout
