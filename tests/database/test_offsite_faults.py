"""A problem with the bucket ends an upload, a fetch or a check in one clear line; with a real restic and S3 server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import fill
from tests.database.pod import Pod
from tests.database.s3_server import S3Server, failing_endpoint
from tests.database.test_offsite import copies, day, last_line, tags


@pytest.mark.parametrize("fault", ["500", "reset", "slow", "clock"])
@pytest.mark.parametrize("script", ["upload.sh", "fetch.sh", "check-offsite.sh"])
def test_a_fault_of_the_endpoint_ends_in_one_clear_line(
    pod: Pod, backup: str, offsite: dict[str, str], script: str, fault: str
) -> None:
    with failing_endpoint(fault) as port:
        place = {**offsite, "RESTIC_REPOSITORY": f"s3:http://127.0.0.1:{port}/homelab-backups/x"}
        done = pod.run(script, CONTACT_SECONDS="4", **place)
    assert done.returncode == 1
    assert last_line(done).startswith(f"FAILED: the repository {place['RESTIC_REPOSITORY']} cannot be reached: ")
    assert pod.names() == [backup], "the backup on the volume is not what it was"


def test_a_bucket_that_is_full_fails_the_upload_in_one_line_and_the_copies_stay_readable(
    pod: Pod, server: PostgresServer, offsite: dict[str, str], s3: S3Server
) -> None:
    fill(server)
    day(pod, 1)
    assert pod.run("upload.sh", **offsite).returncode == 0
    (first,) = pod.names()
    day(pod, 2)
    with failing_endpoint("full", behind=s3.port) as port:
        place = {**offsite, "RESTIC_REPOSITORY": offsite["RESTIC_REPOSITORY"].replace(str(s3.port), str(port))}
        done = pod.run("upload.sh", UPLOAD_SECONDS="6", **place)
        assert done.returncode == 1
        assert last_line(done).startswith("FAILED: ")
        assert "Storage backend has reached its minimum free drive threshold" in last_line(done)
        shutil.rmtree(pod.backups / first)
        done = pod.run("fetch.sh", FETCH=first, **place)
        assert done.returncode == 0, done.stdout
    assert pod.run("upload.sh", **offsite).returncode == 0
    assert len(copies(pod, offsite)) == 2


def test_a_wrong_key_a_missing_repository_and_a_wrong_password_are_named(
    pod: Pod, backup: str, offsite: dict[str, str]
) -> None:
    def reason(script: str, **change: str) -> str:
        done = pod.run(script, CONTACT_SECONDS="4", **{**offsite, **change})
        assert done.returncode == 1, done.stdout
        assert backup in pod.names()
        return last_line(done)

    # Which of the two the server answers depends on the first request.
    refused = reason("upload.sh", AWS_SECRET_ACCESS_KEY="wrong")
    assert "Access Denied" in refused or "signature" in refused
    assert "there is no repository" in reason("fetch.sh", FETCH="latest")
    assert "nothing has been uploaded" in reason("check-offsite.sh")
    assert pod.run("upload.sh", **offsite).returncode == 0
    assert "does not open with the password" in reason("upload.sh", RESTIC_PASSWORD="another one")
    assert "does not open with the password" in reason("fetch.sh", FETCH="latest", RESTIC_PASSWORD="another one")


def test_a_repository_that_is_half_made_is_told_and_healed_by_hand(
    pod: Pod, server: PostgresServer, offsite: dict[str, str], s3: S3Server
) -> None:
    fill(server)
    day(pod, 1)
    repository = s3.folder / s3.bucket / offsite["RESTIC_REPOSITORY"].rpartition("/")[2]
    assert pod.run("upload.sh", **offsite).returncode == 0
    (repository / "config").unlink()
    for part in ("snapshots", "index", "data"):
        shutil.rmtree(repository / part)
    done = pod.run("upload.sh", **offsite)
    assert done.returncode == 1
    assert "has keys and no config" in last_line(done)
    shutil.rmtree(repository)
    shutil.rmtree(pod.directory / "tmp" / "cache")
    assert pod.run("upload.sh", **offsite).returncode == 0


def test_a_repository_that_has_lost_something_fails_the_check(
    pod: Pod, server: PostgresServer, offsite: dict[str, str], s3: S3Server
) -> None:
    fill(server)
    day(pod, 1)
    assert pod.run("upload.sh", **offsite).returncode == 0
    folder = s3.folder / s3.bucket / offsite["RESTIC_REPOSITORY"].rpartition("/")[2] / "data"
    pack: Path = max((each for each in folder.rglob("*") if each.is_file()), key=lambda each: each.stat().st_size)
    pack.unlink()
    done = pod.run("check-offsite.sh", **offsite)
    assert done.returncode == 1
    assert last_line(done).startswith("FAILED: the repository ")
    assert "is damaged" in last_line(done)


def test_a_copy_that_is_damaged_in_the_bucket_is_not_fetched(
    pod: Pod, backup: str, offsite: dict[str, str], s3: S3Server
) -> None:
    """The restore computes a dump's checksum; restic's hashes tell whether it left the bucket whole."""
    assert pod.run("upload.sh", **offsite).returncode == 0
    shutil.rmtree(pod.backups / backup)
    folder = s3.folder / s3.bucket / offsite["RESTIC_REPOSITORY"].rpartition("/")[2] / "data"
    pack: Path = max((each for each in folder.rglob("*") if each.is_file()), key=lambda each: each.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) // 3] ^= 1
    pack.write_bytes(data)
    done = pod.run("fetch.sh", FETCH=backup, **offsite)
    assert done.returncode == 1
    assert last_line(done).startswith(f"FAILED: {backup} could not be fetched: ")
    assert pod.names() == []
    assert not list(pod.backups.glob(".fetched-*"))


@pytest.mark.parametrize("fault", ["object lock", "bucket lock"])
def test_where_the_bucket_lets_nobody_delete_every_copy_that_is_listed_restores(
    pod: Pod, server: PostgresServer, offsite: dict[str, str], s3: S3Server, fault: str
) -> None:
    """The kind of lock decides whether restic retries."""
    fill(server)
    keep = {"KEEP_DAILY": "1", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0", "FORGET_SECONDS": "6"}
    with failing_endpoint(fault, behind=s3.port) as port:
        place = {**offsite, "RESTIC_REPOSITORY": offsite["RESTIC_REPOSITORY"].replace(str(s3.port), str(port))}
        for number in (1, 5, 9):
            server.sql("UPDATE invoices SET note = md5(note)")
            day(pod, number)
            done = pod.run("upload.sh", **keep, **place)
            assert done.returncode == 0, done.stdout
        assert "the bucket does not let old copies go yet" in done.stdout
        taken = pod.names()
        shutil.rmtree(pod.backups)
        pod.folder(pod.backups)
        assert sorted(tags(copy)["name"] for copy in copies(pod, place)) == taken
        for name in taken:
            done = pod.run("fetch.sh", FETCH=name, **place)
            assert done.returncode == 0, done.stdout
    # Once the lock has ended, the next upload catches up.
    done = pod.run("upload.sh", **keep, **offsite)
    assert done.returncode == 0, done.stdout
    assert [tags(copy)["name"] for copy in copies(pod, offsite)] == taken[-1:]
    done = pod.run("check-offsite.sh", READ_SUBSET="100%", **offsite)
    assert last_line(done) == "the repository is whole: 1 copies"
