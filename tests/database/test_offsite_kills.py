"""Killed uploads and fetches leave nothing that passes for a backup; with a real restic and S3 server."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest

from rehearsal import optional_tools
from tests.database.kill_delay import KillDelay
from tests.database.pod import Pod, kill_group
from tests.database.restic_key import cheapen
from tests.database.s3_server import S3Server
from tests.database.test_offsite import copies, last_line, tags
from tests.kills import kills

KILLS = kills(100)
_BEGAN = datetime(2026, 1, 1, 3, tzinfo=UTC)
_DUMP = 3_000_000  # bytes: several of restic's blobs


@pytest.fixture
def made(pod: Pod, backup: str, offsite: dict[str, str], s3: S3Server) -> str:
    """The name of a backup with a copy, in a repository that opens at once."""
    assert pod.run("upload.sh", **offsite).returncode == 0
    cheapen(s3.folder / s3.bucket / offsite["RESTIC_REPOSITORY"].rpartition("/")[2], offsite["RESTIC_PASSWORD"])
    return backup


def take(pod: Pod, like: str, number: int) -> str:
    """Sets the clock `number` days on and makes a backup with a dump unlike all others; returns the backup's name."""
    taken = _BEGAN + timedelta(days=number)
    pod.set_clock(taken)  # the first upload of each day forgets
    name = f"invoicetron-{number:06}-{taken:%Y%m%dT%H%M%SZ}"
    folder = pod.folder(pod.backups / name)
    dump = random.Random(number).randbytes(_DUMP)  # noqa: S311 - repeatable, not secret
    (folder / "database.dump").write_bytes(dump)
    manifest = json.loads((pod.backups / like / "manifest.json").read_text())
    manifest |= {
        "name": name,
        "takenAt": f"{taken:%Y-%m-%dT%H:%M:%SZ}",
        "dumpBytes": len(dump),
        "dumpSha256": hashlib.sha256(dump).hexdigest(),
    }
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in manifest.items())
    (folder / "manifest.json").write_text(f"{{\n{lines}\n}}\n")
    for path in folder.iterdir():
        pod.give(path)
    return name


def sound(pod: Pod, offsite: dict[str, str]) -> None:
    """Asserts that whatever the repository lists exists; waits for no lock and leaves none."""
    command = [str(optional_tools.restic()), "--quiet", "--no-lock", "check"]
    for last in (False, False, True):
        done = subprocess.run(command, env=pod.environment(**offsite), capture_output=True, text=True, check=False)
        if done.returncode == 0 or last:
            break
        time.sleep(1)  # the endpoint still does what the killed upload had requested: a copy may go while we look
    assert done.returncode == 0, done.stdout + done.stderr


def test_whenever_an_upload_is_killed_a_copy_is_whole_or_is_not_there(
    pod: Pod, made: str, offsite: dict[str, str]
) -> None:
    keep = {"KEEP_DAILY": "2", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0"}
    elsewhere = pod.folder(pod.directory / "elsewhere")
    take(pod, made, 2)
    started = time.monotonic()
    done = pod.run("upload.sh", **keep, **offsite)
    assert done.returncode == 0, done.stdout
    usual = time.monotonic() - started
    delay = KillDelay(usual, seed=20260204)
    cut_off, copied = 0, 0
    for attempt in range(3, KILLS + 3):
        # Otherwise what killed uploads have left undone would pile up, and no upload would finish.
        for earlier in set(pod.names()) - {made}:
            shutil.rmtree(pod.backups / earlier)
        name = take(pod, made, attempt)
        process = pod.start("upload.sh", **keep, **offsite)
        time.sleep(delay.draw())
        kill_group(process)
        process.communicate(timeout=60)
        delay.met(process.returncode != 0)
        cut_off += process.returncode != 0
        sound(pod, offsite)
        if name not in {tags(copy)["name"] for copy in copies(pod, offsite)}:
            continue
        copied += 1
        seen = pod.run("fetch.sh", FETCH=name, **{**offsite, "BACKUPS": str(elsewhere)})
        assert seen.returncode == 0, seen.stdout
        assert (elsewhere / name / "database.dump").read_bytes() == (pod.backups / name / "database.dump").read_bytes()
        shutil.rmtree(elsewhere / name)
    assert cut_off > KILLS / 10, "hardly any kill met a running upload"
    assert copied > KILLS / 10, "hardly any kill came after the copy was there"
    done = pod.run("upload.sh", **keep, **offsite)
    assert done.returncode == 0, done.stdout
    kept = [tags(copy)["name"] for copy in copies(pod, offsite)]
    assert name in kept
    assert len(kept) < copied, "nothing was ever forgotten"
    done = pod.run("check-offsite.sh", READ_SUBSET="100%", **offsite)
    assert done.returncode == 0, done.stdout
    assert last_line(done) == f"the repository is whole: {len(kept)} copies"


def test_a_fetch_that_is_killed_leaves_nothing_that_passes_for_a_backup(
    pod: Pod, made: str, offsite: dict[str, str]
) -> None:
    name = take(pod, made, 2)
    assert pod.run("upload.sh", **offsite).returncode == 0
    dump = (pod.backups / name / "database.dump").read_bytes()
    shutil.rmtree(pod.backups / name)
    started = time.monotonic()
    assert pod.run("fetch.sh", FETCH=name, **offsite).returncode == 0
    usual = time.monotonic() - started
    delay = KillDelay(usual, seed=1)
    found = 0
    for _ in range(KILLS):
        shutil.rmtree(pod.backups / name, ignore_errors=True)
        process = pod.start("fetch.sh", FETCH=name, **offsite)
        time.sleep(delay.draw())
        kill_group(process)
        process.communicate(timeout=60)
        delay.met(process.returncode != 0)
        assert pod.names() in ([made], [made, name])
        if name in pod.names():
            found += 1
            assert (pod.backups / name / "database.dump").read_bytes() == dump
    assert 0 < found < KILLS, "the kills came too early, or too late"
    shutil.rmtree(pod.backups / name, ignore_errors=True)
    assert pod.run("fetch.sh", FETCH=name, **offsite).returncode == 0
    assert pod.names() == [made, name]
    assert not list(pod.backups.glob(".fetched-*"))


def test_an_upload_that_is_killed_as_it_makes_the_repository_is_caught_up_with_or_told(
    pod: Pod, backup: str, offsite: dict[str, str]
) -> None:
    started = time.monotonic()
    assert pod.run("upload.sh", **offsite).returncode == 0
    usual = time.monotonic() - started
    for attempt in range(6):
        place = {**offsite, "RESTIC_REPOSITORY": f"{offsite['RESTIC_REPOSITORY']}-{attempt}"}
        process = pod.start("upload.sh", **place)
        time.sleep(usual * attempt / 6)
        kill_group(process)
        process.communicate(timeout=60)
        again = pod.run("upload.sh", **place)
        if "has keys and no config" not in again.stdout:  # which is repaired by hand
            assert again.returncode == 0, again.stdout
            assert [tags(copy)["name"] for copy in copies(pod, place)] == [backup]
