"""A problem with the bucket ends an upload, a fetch or a check in one clear line; with a real restic and S3 server."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import fill
from tests.database.pod import Pod
from tests.database.restic_key import cheapen
from tests.database.s3_server import Front, S3Server, at_port, failing_endpoint, serving
from tests.database.test_offsite import copies, day, last_line, restic, tags, wrap_restic


def time_out_as_busybox(pod: Pod) -> None:
    """BusyBox's `timeout` becomes the program that it ends, and so has the program's status."""
    program = pod.directory / "bin" / "timeout"
    program.write_text(
        "#!/bin/sh\nlimit=$1; shift\n"
        '(for _ in $(seq "$limit"); do sleep 1; kill -0 $$ || exit; done; kill $$) >/dev/null 2>&1 &\nexec "$@"\n'
    )
    program.chmod(0o755)


def repository(s3: S3Server, offsite: dict[str, str]) -> Path:
    """The repository's folder in the bucket."""
    return s3.folder / s3.bucket / offsite["RESTIC_REPOSITORY"].rpartition("/")[2]


def open_at_once(s3: S3Server, offsite: dict[str, str]) -> None:
    """Makes the repository one that opens within a second on a busy machine, too: for tests of an answer's limit."""
    cheapen(repository(s3, offsite), offsite["RESTIC_PASSWORD"])


def snapshots(pod: Pod, offsite: dict[str, str]) -> dict[str, int]:
    """How many files restic has read for each snapshot that exists."""
    listing = restic(pod, offsite, "--no-lock", "snapshots", "--json")
    return {one["id"]: one["summary"]["total_files_processed"] for one in json.loads(listing)}


@pytest.mark.parametrize("fault", ["500", "reset", "slow", "clock"])
@pytest.mark.parametrize("script", ["upload.sh", "fetch.sh", "check-offsite.sh"])
def test_a_fault_of_the_endpoint_ends_in_one_clear_line(
    pod: Pod, backup: str, offsite: dict[str, str], script: str, fault: str
) -> None:
    with failing_endpoint(fault) as port:
        place = at_port(offsite, port)
        done = pod.run(script, CONTACT_SECONDS="4", **place)
    assert done.returncode == 1
    assert last_line(done).startswith(f"FAILED: the repository {place['RESTIC_REPOSITORY']} cannot be reached: ")
    assert pod.names() == [backup], "the backup on the volume is not what it was"


@pytest.mark.parametrize("busybox", [True, False])
def test_an_endpoint_that_does_not_answer_is_told_with_the_seconds(
    pod: Pod, backup: str, offsite: dict[str, str], *, busybox: bool
) -> None:
    if busybox:
        time_out_as_busybox(pod)
    with failing_endpoint("slow") as port:
        place = at_port(offsite, port)
        done = pod.run("upload.sh", CONTACT_SECONDS="4", **place)
    assert done.returncode == 1
    assert last_line(done).endswith("cannot be reached: no answer within 4 s")
    assert pod.names() == [backup]


def test_a_list_of_very_many_copies_is_waited_for_as_long_as_the_endpoint_answers(
    pod: Pod, backup: str, offsite: dict[str, str], s3: S3Server
) -> None:
    """restic asks for each copy, so that the time grows with their number."""
    assert pod.run("upload.sh", **offsite).returncode == 0
    open_at_once(s3, offsite)
    shutil.rmtree(pod.directory / "tmp" / "cache")
    shutil.rmtree(pod.backups / backup)

    class Handler(Front):
        def answer(self) -> None:
            if "/snapshots/" in self.path and not self.path.endswith("/"):
                time.sleep(8)
            self.pass_on(s3.port)

    with serving(Handler) as port:
        place = at_port(offsite, port)
        done = pod.run("fetch.sh", FETCH="latest", CONTACT_SECONDS="5", **place)
    assert done.returncode == 0, done.stdout
    assert pod.names() == [backup]


def test_a_bucket_that_is_full_fails_the_upload_in_one_line_and_the_copies_stay_readable(
    pod: Pod, server: PostgresServer, offsite: dict[str, str], s3: S3Server
) -> None:
    fill(server)
    day(pod, 1)
    assert pod.run("upload.sh", **offsite).returncode == 0
    open_at_once(s3, offsite)
    (first,) = pod.names()
    day(pod, 2)
    with failing_endpoint("full", behind=s3.port) as port:
        place = at_port(offsite, port)
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
        done = pod.run(script, **{**offsite, **change})
        assert done.returncode == 1, done.stdout
        assert backup in pod.names()
        return last_line(done)

    # Which of the two the server answers depends on the first request. restic asks again for a quarter of an hour.
    refused = reason("upload.sh", AWS_SECRET_ACCESS_KEY="wrong", CONTACT_SECONDS="4")
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
    half_made = repository(s3, offsite)
    assert pod.run("upload.sh", **offsite).returncode == 0
    (half_made / "config").unlink()
    for part in ("snapshots", "index", "data"):
        shutil.rmtree(half_made / part)
    (pod.backups / ".offsite-forgotten").unlink()  # there were no copies yet
    done = pod.run("upload.sh", **offsite)
    assert done.returncode == 1
    assert "has keys and no config" in last_line(done)
    shutil.rmtree(half_made)
    shutil.rmtree(pod.directory / "tmp" / "cache")
    assert pod.run("upload.sh", **offsite).returncode == 0


def test_a_repository_that_has_lost_something_fails_the_check(
    pod: Pod, server: PostgresServer, offsite: dict[str, str], s3: S3Server
) -> None:
    fill(server)
    day(pod, 1)
    assert pod.run("upload.sh", **offsite).returncode == 0
    folder = repository(s3, offsite) / "data"
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
    folder = repository(s3, offsite) / "data"
    pack: Path = max((each for each in folder.rglob("*") if each.is_file()), key=lambda each: each.stat().st_size)
    data = bytearray(pack.read_bytes())
    data[len(data) // 3] ^= 1
    pack.write_bytes(data)
    done = pod.run("fetch.sh", FETCH=backup, **offsite)
    assert done.returncode == 1
    assert last_line(done).startswith(f"FAILED: {backup} could not be fetched: ")
    assert pod.names() == []
    assert not list(pod.backups.glob(".fetched-*"))


@pytest.mark.parametrize(
    ("emptied", "known_by"), [("everything", "the first upload"), ("snapshots", "a list of the copies")]
)
def test_copies_that_are_gone_fail_the_upload_until_somebody_decides_to_begin_anew(
    pod: Pod, server: PostgresServer, offsite: dict[str, str], s3: S3Server, *, emptied: str, known_by: str
) -> None:
    fill(server)
    day(pod, 1)
    wrap_restic(pod, "forget", "exit 11")  # as where somebody else uses the repository: nothing is ever forgotten
    assert pod.run("upload.sh", **offsite).returncode == 0
    if known_by == "a list of the copies":
        for path in pod.backups.glob(".offsite-*"):
            path.unlink()
        assert pod.run("upload.sh", **offsite).returncode == 0
    whole = repository(s3, offsite)
    shutil.rmtree(whole if emptied == "everything" else whole / "snapshots")
    shutil.rmtree(pod.directory / "tmp" / "cache")
    day(pod, 2)
    for _ in range(2):
        done = pod.run("upload.sh", CRON_JOB="invoicetron-db-upload", **offsite)
        assert done.returncode == 1
        assert last_line(done).startswith(f"FAILED: there were copies in {offsite['RESTIC_REPOSITORY']}, and now there")
        command = "kubectl -n invoicetron-dev create job new-repository --from=cronjob/invoicetron-db-upload "
        assert command in last_line(done)
    assert not (whole / "config").exists() or emptied == "snapshots"
    done = pod.run("upload.sh", NEW_REPOSITORY="true", **offsite)
    assert done.returncode == 0, done.stdout
    assert [tags(copy)["name"] for copy in copies(pod, offsite)] == pod.names()
    assert pod.run("upload.sh", **offsite).returncode == 0
    done = pod.run("upload.sh", **{**offsite, "RESTIC_REPOSITORY": f"{offsite['RESTIC_REPOSITORY']}-2"})
    assert done.returncode == 0, "another prefix has had no copies"


def test_copies_that_somebody_else_has_removed_fail_the_uploads_until_somebody_decides(
    pod: Pod, server: PostgresServer, offsite: dict[str, str]
) -> None:
    fill(server)
    for number in range(1, 5):
        day(pod, number)
        assert pod.run("upload.sh", **offsite).returncode == 0
    removed, *_, newest = pod.names()
    shutil.rmtree(pod.backups / removed)  # as retention does, long before off-site
    ids = {tags(copy)["name"]: copy["id"] for copy in copies(pod, offsite)}
    restic(pod, offsite, "forget", ids[removed], ids[newest])
    day(pod, 5)
    fewer = {**offsite, "KEEP_DAILY": "1", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0", "KEEP_WITHIN": "1h"}
    for _ in range(2):
        done = pod.run("upload.sh", CRON_JOB="invoicetron-db-upload", **fewer)
        assert done.returncode == 1
        assert f"gone from {offsite['RESTIC_REPOSITORY']}, and no upload has forgotten them: {removed};" in last_line(
            done
        )
        assert "kubectl -n invoicetron-dev create job new-repository --from=cronjob/invoicetron-db-upload" in last_line(
            done
        )
        assert sorted(tags(copy)["name"] for copy in copies(pod, offsite)) == pod.names(), (
            "what can have a copy has one"
        )
    assert pod.run("upload.sh", NEW_REPOSITORY="true", **offsite).returncode == 0
    done = pod.run("upload.sh", **offsite)
    assert done.returncode == 0, done.stdout


def test_what_the_uploads_have_forgotten_is_not_missed_even_by_one_that_was_killed(
    pod: Pod, server: PostgresServer, offsite: dict[str, str]
) -> None:
    fill(server)
    keep = {"KEEP_DAILY": "2", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0", "KEEP_WITHIN": "1h"}

    def upload(**more: str) -> None:
        done = pod.run("upload.sh", **{**offsite, **keep, **more})
        assert done.returncode == 0, done.stdout

    for number in range(1, 6):
        day(pod, number)
        upload()
        upload()
    wrap_restic(pod, "forget", 'restic-itself "$@"; kill -9 $PPID')
    day(pod, 6)
    assert pod.run("upload.sh", **offsite, **keep).returncode != 0
    wrap_restic(pod, "forget", 'exec restic-itself "$@"')
    upload()
    assert sorted(tags(copy)["name"] for copy in copies(pod, offsite)) == pod.names()[-2:]
    upload(RESTIC_REPOSITORY=f"{offsite['RESTIC_REPOSITORY']}-2")
    upload()


UNREADABLE = """[ -e {once} ] || {{ touch {once}; chmod 000 database.dump; restic-itself "$@"; status=$?
  chmod 600 database.dump; exit "$status"; }}"""
MISSING = '[ -e {once} ] || {{ mv database.dump {once}; exec restic-itself "$@"; }}'


@pytest.mark.parametrize("fault", [UNREADABLE, MISSING], ids=["unreadable", "missing"])
def test_a_snapshot_without_the_dump_is_no_copy_and_goes_before_it_could_take_one_s_place(
    pod: Pod, server: PostgresServer, offsite: dict[str, str], fault: str
) -> None:
    """restic saves what it can read and, of a file that is missing, calls that a success."""
    fill(server)
    day(pod, 1)
    (backup,) = pod.names()
    dump, once = pod.backups / backup / "database.dump", pod.directory / "tmp" / "once"
    whole = dump.read_bytes()
    wrap_restic(pod, "backup", fault.format(once=once))
    done = pod.run("upload.sh", **offsite)
    assert done.returncode == 1
    assert last_line(done).startswith(f"FAILED: {backup} was not uploaded: ")
    if fault == MISSING:
        once.rename(dump)
        once.touch()
    assert list(snapshots(pod, offsite).values()) == [1]
    assert copies(pod, offsite) == []
    assert "has no copy off-site" in pod.run("fetch.sh", FETCH=backup, **offsite).stdout
    # As the Job's next attempt.
    wrap_restic(pod, "forget", "exit 11")
    done = pod.run("upload.sh", **offsite)
    assert done.returncode == 0, done.stdout
    assert f"uploaded {backup}" in done.stdout
    assert sorted(snapshots(pod, offsite).values()) == [1, 2]
    assert pod.run("check-offsite.sh", **offsite).stdout.endswith("the repository is whole: 1 copies\n")
    shutil.rmtree(pod.backups / backup)
    done = pod.run("fetch.sh", FETCH="latest", **offsite)
    assert done.returncode == 0, done.stdout
    assert dump.read_bytes() == whole
    wrap_restic(pod, "forget", 'exec restic-itself "$@"')
    done = pod.run("upload.sh", KEEP_DAILY="1", KEEP_WEEKLY="0", KEEP_MONTHLY="0", **offsite)
    assert done.returncode == 0, done.stdout
    assert list(snapshots(pod, offsite).values()) == [2]


def test_a_snapshot_without_the_dump_that_the_bucket_does_not_let_go_costs_no_copy(
    pod: Pod, server: PostgresServer, offsite: dict[str, str], s3: S3Server
) -> None:
    fill(server)
    day(pod, 1)
    (backup,) = pod.names()
    wrap_restic(pod, "backup", UNREADABLE.format(once=pod.directory / "tmp" / "once"))
    assert pod.run("upload.sh", **offsite).returncode == 1
    (hollow,) = snapshots(pod, offsite)

    class Handler(Front):
        def answer(self) -> None:
            if self.command == "DELETE" and self.path.endswith(hollow):
                self.refuse(403, "AccessDenied", "Access Denied because object protected by object lock.")
            else:
                self.pass_on(s3.port)

    keep = {"KEEP_DAILY": "1", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0"}
    with serving(Handler) as port:
        place = at_port(offsite, port)
        for number in (1, 9):
            done = pod.run("upload.sh", **keep, **place)
            assert done.returncode == 0, done.stdout
            assert "the bucket does not let old copies go yet" in done.stdout
            day(pod, number)
        assert backup in {tags(copy)["name"] for copy in copies(pod, place)}
        done = pod.run("upload.sh", **keep, **place)
        assert done.returncode == 0, done.stdout
        assert backup in {tags(copy)["name"] for copy in copies(pod, place)}
    done = pod.run("upload.sh", **keep, **offsite)
    assert done.returncode == 0, done.stdout
    assert [tags(copy)["name"] for copy in copies(pod, offsite)] == pod.names()[-1:]
    assert list(snapshots(pod, offsite).values()) == [2]


@pytest.mark.parametrize("fault", ["object lock", "bucket lock"])
def test_where_the_bucket_lets_nobody_delete_every_copy_that_is_listed_restores(
    pod: Pod, server: PostgresServer, offsite: dict[str, str], s3: S3Server, fault: str
) -> None:
    """The kind of lock decides whether restic retries."""
    fill(server)
    time_out_as_busybox(pod)
    keep = {"KEEP_DAILY": "1", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0"}
    with failing_endpoint(fault, behind=s3.port) as port:
        place = at_port(offsite, port)
        for number in (1, 5, 9):
            server.sql("UPDATE invoices SET note = md5(note)")
            day(pod, number)
            done = pod.run("upload.sh", FORGET_SECONDS="6", **keep, **place)
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
