"""Backups that are damaged on the volume, and copies that cannot be read in the bucket.

The other backups get their copies, and a good copy replaces the damaged backup.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import fill
from tests.database.pod import Pod
from tests.database.s3_server import Front, S3Server, at_port, serving
from tests.database.test_offsite import copies, day, last_line, restic, tags


@pytest.fixture
def two(pod: Pod, server: PostgresServer) -> tuple[str, str]:
    """The backups of two days, the older first."""
    fill(server)
    for number in (1, 2):
        day(pod, number)
    older, newer = pod.names()
    return older, newer


def damage(pod: Pod, name: str) -> bytes:
    """Changes one bit of a dump on the volume; returns the dump as it was."""
    dump = pod.backups / name / "database.dump"
    whole = dump.read_bytes()
    dump.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    return whole


def set_aside(pod: Pod) -> list[str]:
    """Names of the damaged backups that no other script sees any more."""
    return sorted(path.name.removeprefix(".damaged-") for path in pod.backups.glob(".damaged-*"))


def test_a_damaged_backup_holds_up_no_other_and_fails_every_upload_until_it_is_removed(
    pod: Pod, two: tuple[str, str], offsite: dict[str, str]
) -> None:
    older, newer = two
    damage(pod, older)
    for _ in ("the first attempt", "another one of the same Job, which must not end the alert"):
        done = pod.run("upload.sh", **offsite)
        assert done.returncode == 1
        assert f"damaged on the volume, and without a copy: {older};" in last_line(done)
        assert [tags(copy)["name"] for copy in copies(pod, offsite)] == [newer]
    assert set_aside(pod) == [older]
    day(pod, 3)
    done = pod.run("upload.sh", **offsite)
    assert done.returncode == 1
    assert "uploaded " in done.stdout
    shutil.rmtree(pod.backups / f".damaged-{older}")
    done = pod.run("upload.sh", **offsite)
    assert done.returncode == 0, done.stdout


def test_a_damaged_backup_is_the_newest_for_nobody(pod: Pod, two: tuple[str, str], offsite: dict[str, str]) -> None:
    older, newer = two
    damage(pod, newer)
    assert pod.run("upload.sh", **offsite).returncode == 1
    assert pod.names() == [older]
    done = pod.run("drill.sh", DRILL=str(pod.drill))
    assert f"{older} restores completely" in last_line(done)
    done = pod.run("restore.sh", RESTORE_FROM="latest")
    assert done.returncode == 0, done.stdout


def test_a_backup_that_could_not_be_read_for_a_while_is_uploaded_and_put_back(
    pod: Pod, two: tuple[str, str], offsite: dict[str, str]
) -> None:
    older, newer = two
    whole = damage(pod, older)
    assert pod.run("upload.sh", **offsite).returncode == 1
    (pod.backups / f".damaged-{older}" / "database.dump").write_bytes(whole)
    done = pod.run("upload.sh", **offsite)
    assert done.returncode == 0, done.stdout
    assert sorted(tags(copy)["name"] for copy in copies(pod, offsite)) == pod.names() == [older, newer]
    assert set_aside(pod) == []


def test_a_damaged_backup_is_removed_after_a_week(pod: Pod, server: PostgresServer, offsite: dict[str, str]) -> None:
    fill(server)
    day(pod, 1)
    (name,) = pod.names()
    long_ago = time.time() - 30 * 86400
    damage(pod, name)
    os.utime(pod.backups / name, (long_ago, long_ago))
    for _ in range(2):
        assert pod.run("upload.sh", **offsite).returncode == 1
        assert set_aside(pod) == [name], "the week begins when it is found"
    os.utime(pod.backups / f".damaged-{name}", (time.time(), time.time() - 8 * 86400))
    done = pod.run("upload.sh", **offsite)
    assert done.returncode == 0, done.stdout
    assert set_aside(pod) == []


def shorten(pod: Pod, name: str) -> None:
    os.truncate(pod.backups / name / "database.dump", 100)


def lose_the_manifest(pod: Pod, name: str) -> None:
    (pod.backups / name / "manifest.json").unlink()


@pytest.mark.parametrize("loss", [damage, shorten, lose_the_manifest])
def test_a_backup_that_went_bad_on_the_volume_is_replaced_by_its_copy(
    pod: Pod, backup: str, offsite: dict[str, str], loss: Callable[[Pod, str], object]
) -> None:
    whole = (pod.backups / backup / "database.dump").read_bytes()
    assert pod.run("upload.sh", **offsite).returncode == 0
    loss(pod, backup)
    done = pod.run("fetch.sh", FETCH="latest", **offsite)
    assert done.returncode == 0, done.stdout
    assert f"{backup} is damaged on the volume" in done.stdout
    assert (pod.backups / backup / "database.dump").read_bytes() == whole
    done = pod.run("restore.sh", RESTORE_FROM="latest")
    assert done.returncode == 0, done.stdout
    assert not list(pod.backups.glob(".[dfp]*")), "what it replaced fills the volume"


def test_a_damaged_backup_is_replaced_by_nothing_that_is_no_better(
    pod: Pod, backup: str, offsite: dict[str, str]
) -> None:
    damage(pod, backup)
    copy = ["backup", "--host", offsite["STACK"], "--tag", f"name={backup}", "database.dump", "manifest.json"]
    for command in (["init"], copy):
        restic(pod, offsite, *command, cwd=pod.backups / backup)
    before = {path: path.read_bytes() for path in (pod.backups / backup).iterdir()}
    done = pod.run("fetch.sh", FETCH=backup, **offsite)
    assert done.returncode == 1
    assert "damaged on the volume, and so is its copy" in last_line(done)
    assert {path: path.read_bytes() for path in (pod.backups / backup).iterdir()} == before


def test_a_copy_that_cannot_be_read_is_said_and_no_older_one_is_taken_for_the_newest(
    pod: Pod, two: tuple[str, str], offsite: dict[str, str], s3: S3Server
) -> None:
    """restic leaves it out of its list, and calls that a success."""
    older, newer = two
    assert pod.run("upload.sh", **offsite).returncode == 0
    (damaged,) = (copy["id"] for copy in copies(pod, offsite) if tags(copy)["name"] == newer)
    repository = s3.folder / s3.bucket / offsite["RESTIC_REPOSITORY"].rpartition("/")[2]
    (repository / "snapshots" / damaged).write_bytes(b"damaged")
    shutil.rmtree(pod.directory / "tmp" / "cache")
    kept = pod.backups.rename(pod.directory / "kept")
    pod.folder(pod.backups)

    for asked in ({}, {"NAME_ONLY": "true"}):
        done = pod.run("fetch.sh", FETCH="latest", **asked, **offsite)
        assert done.returncode == 1
        refusal = f"1 of the copies cannot be read, and may be newer than the newest of the others, {older}"
        assert refusal in last_line(done)
        assert "invalid data" in last_line(done)
    done = pod.run("fetch.sh", FETCH=newer, **offsite)
    assert done.returncode == 1
    assert "1 of the copies cannot be read" in done.stdout
    done = pod.run("fetch.sh", **offsite)
    assert done.returncode == 0, done.stdout
    assert "1 of the copies cannot be read" in done.stdout
    assert done.stdout.count('{"time"') == 1
    done = pod.run("fetch.sh", FETCH=older, **offsite)
    assert done.returncode == 0, done.stdout
    assert pod.names() == [older]

    shutil.rmtree(pod.backups)
    kept.rename(pod.backups)
    done = pod.run("upload.sh", **offsite)
    assert done.returncode == 0, done.stdout
    assert f"uploaded {newer}" in done.stdout


@pytest.mark.usefixtures("two")
def test_where_no_copy_can_be_read_none_is_called_gone(pod: Pod, offsite: dict[str, str], s3: S3Server) -> None:
    assert pod.run("upload.sh", **offsite).returncode == 0
    repository = s3.folder / s3.bucket / offsite["RESTIC_REPOSITORY"].rpartition("/")[2]
    for snapshot in (repository / "snapshots").iterdir():
        snapshot.write_bytes(b"damaged")
    shutil.rmtree(pod.directory / "tmp" / "cache")
    for script, more in (("upload.sh", {}), ("fetch.sh", {"FETCH": "latest"})):
        done = pod.run(script, **more, **offsite)
        assert done.returncode == 1
        assert "no copy can be read" in last_line(done)
        assert "invalid data" in last_line(done)


@pytest.mark.parametrize("script", ["upload.sh", "fetch.sh", "check-offsite.sh"])
@pytest.mark.usefixtures("two")
def test_copies_that_cannot_be_listed_are_not_called_gone(
    pod: Pod, offsite: dict[str, str], s3: S3Server, script: str
) -> None:
    """As with a key that may not list this folder: restic warns, and calls its empty list a success."""
    assert pod.run("upload.sh", **offsite).returncode == 0

    class Handler(Front):
        def answer(self) -> None:
            if "list-type" in self.path and "snapshots" in self.path:
                self.refuse(403, "AccessDenied", "Access Denied for this folder.")
            else:
                self.pass_on(s3.port)

    with serving(Handler) as port:
        place = at_port(offsite, port)
        done = pod.run(script, FETCH="latest", CONTACT_SECONDS="4", **place)
    assert done.returncode == 1
    assert "cannot be reached: " in last_line(done)
    assert "Access Denied for this folder." in last_line(done)
