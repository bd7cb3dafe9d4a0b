"""upload.sh, check-offsite.sh and fetch.sh, as the pods run them, with a real restic, S3 server and PostgreSQL."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ops.backups import Listed
from rehearsal import optional_tools
from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import databases, fill
from tests.database.pod import Pod
from tests.database.s3_server import S3Server


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return str(done.stdout.splitlines()[-1].partition(" ")[2])


def copies(pod: Pod, offsite: dict[str, str]) -> list[dict[str, Any]]:
    """The copies as fetch.sh lists them."""
    done = pod.run("fetch.sh", **offsite)
    assert done.returncode == 0, done.stdout
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def tags(copy: dict[str, Any]) -> dict[str, str]:
    return dict(tag.split("=", 1) for tag in copy["tags"])


def day(pod: Pod, number: int) -> None:
    """Takes a backup on a day in January."""
    pod.set_clock(datetime(2026, 1, number, 3, tzinfo=UTC))
    done = pod.run("backup.sh", DUMP_COMPRESSION="none")
    assert done.returncode == 0, done.stdout


def restic(pod: Pod, offsite: dict[str, str], *command: str, cwd: Path | None = None) -> str:
    """What restic prints when somebody runs it by hand."""
    return subprocess.run(
        [optional_tools.restic(), "--quiet", *command],
        env=pod.environment(**{**offsite, "RESTIC_CACHE_DIR": str(pod.directory / "by-hand")}),
        cwd=cwd,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def wrap_restic(pod: Pod, command: str, instead: str) -> None:
    """Runs `instead` for this command of restic, which is `restic-itself` there."""
    program = pod.directory / "bin" / "restic"
    itself = program.with_name("restic-itself")
    if not itself.exists():
        program.rename(itself)
    program.write_text(f'#!/bin/sh\ncase " $* " in *" {command} "*)\n{instead}\n;; esac\nexec restic-itself "$@"\n')
    program.chmod(0o755)


def test_after_everything_but_the_bucket_is_lost_the_newest_copy_brings_all_of_it_back(
    pod: Pod, server: PostgresServer, backup: str, offsite: dict[str, str]
) -> None:
    manifest = json.loads((pod.backups / backup / "manifest.json").read_text())
    done = pod.run("upload.sh", **offsite)
    assert done.returncode == 0, done.stdout
    (copy,) = copies(pod, offsite)
    assert tags(copy) == {
        "name": backup,
        "rows": str(sum(manifest["inventory"]["rows"].values())),
        "bytes": str(manifest["dumpBytes"]),
        "database": str(manifest["about"]["databaseBytes"]),
        "migration": "20250601000000_items",
        "image": "",
        "by": "",
    }
    assert copy["time"] == manifest["takenAt"]

    shutil.rmtree(pod.backups)
    pod.folder(pod.backups)
    server.sql("DROP DATABASE invoicetron WITH (FORCE)", database="postgres")
    server.sql("CREATE DATABASE invoicetron", database="postgres")
    done = pod.run("fetch.sh", FETCH="latest", NAME_ONLY="true", **offsite)
    assert done.returncode == 0, done.stdout
    assert last_line(done) == f"NEWEST {backup}"
    assert not pod.names(), "nothing was to be fetched"
    done = pod.run("fetch.sh", FETCH="latest", **offsite)
    assert done.returncode == 0, done.stdout
    assert last_line(done) == f"FETCHED {backup}"
    done = pod.run("restore.sh", RESTORE_FROM="latest")
    assert done.returncode == 0, done.stdout
    rows = manifest["inventory"]["rows"]
    assert server.sql("SELECT (SELECT count(*) FROM invoices), (SELECT count(*) FROM invoice_items)") == (
        f"{rows['invoices']}|{rows['invoice_items']}"
    )
    assert databases(server) == ["invoicetron", "postgres"]


def test_a_copy_bears_the_labels_of_its_backup_and_the_list_shows_the_same_of_both(
    pod: Pod, server: PostgresServer, offsite: dict[str, str]
) -> None:
    fill(server)
    image = "registry.example.com/app/prod:1a2b3c4d@sha256:00ff"
    awkward = 'x", "rows": 1,\n'
    assert pod.run("backup.sh", TAKEN_BY="rommel@laptop", IMAGE=image, DUMP_COMPRESSION="none").returncode == 0
    assert pod.run("backup.sh", TAKEN_BY=awkward, DUMP_COMPRESSION="none").returncode == 0
    result = pod.directory / "tmp" / "result"
    assert pod.run("upload.sh", RESULT=str(result), **offsite).returncode == 0
    assert json.loads(result.read_text()) == {"newestCopy": pod.names()[-1]}
    damaged = pod.folder(pod.backups / "invoicetron-000003-20260205T030000Z")
    done = pod.run("list.sh")
    assert done.returncode == 0, done.stdout
    broken, *listed = [json.loads(line) for line in done.stdout.splitlines()]
    assert broken == {"name": damaged.name}
    here = [Listed.of_manifest(one) for one in listed]
    there = [Listed.of_snapshot(one) for one in copies(pod, offsite)]
    by_name = {one.name: one for one in there}
    assert {one.name for one in here} == by_name.keys()
    newest, oldest = here
    assert (oldest.by, oldest.image) == ("rommel@laptop", image)
    assert newest.by == "x rows: 1"
    for one in here:
        copy = by_name[one.name]
        assert replace(copy, by=None, taken=None) == replace(one, by=None, taken=None)
        assert copy.taken == one.taken
        assert copy.by == str(one.by).replace(" ", "_"), "a tag has no blanks"


def test_a_backup_taken_during_an_upload_is_not_said_to_have_a_copy(
    pod: Pod, server: PostgresServer, offsite: dict[str, str]
) -> None:
    fill(server)
    for number in (1, 2):
        day(pod, number)
    first, second = pod.names()
    result, elsewhere = pod.directory / "tmp" / "result", pod.directory / "tmp" / second
    (pod.backups / second).rename(elsewhere)
    wrap_restic(pod, "backup", f'mv {elsewhere} {pod.backups}; exec restic-itself "$@"')
    assert pod.run("upload.sh", RESULT=str(result), **offsite).returncode == 0
    assert pod.names() == [first, second]
    assert json.loads(result.read_text()) == {"newestCopy": first}


def test_the_newest_copy_is_drilled_without_the_volume(pod: Pod, backup: str, offsite: dict[str, str]) -> None:
    assert pod.run("upload.sh", **offsite).returncode == 0
    result = pod.directory / "tmp" / "result"
    fetched = {"BACKUPS": str(pod.folder(pod.directory / "fetched"))}
    assert pod.run("fetch.sh", FETCH="latest", **{**offsite, **fetched}).returncode == 0
    done = pod.run("drill.sh", DRILL=str(pod.drill), DRILLED_FROM="s3", RESULT=str(result), **fetched)
    assert done.returncode == 0, done.stdout
    said = json.loads(result.read_text())
    rows = json.loads((pod.backups / backup / "manifest.json").read_text())["inventory"]["rows"]
    assert (said["drilled"], said["from"], said["rows"]) == (backup, "s3", sum(rows.values()))
    dump = pod.directory / "fetched" / backup / "database.dump"
    dump.write_bytes(dump.read_bytes()[:-1] + b"x")
    result.unlink()
    assert pod.run("drill.sh", DRILL=str(pod.drill), RESULT=str(result), **fetched).returncode == 1
    assert not result.exists(), "a drill that failed has restored nothing"


def test_each_backup_is_uploaded_once_and_what_was_forgotten_does_not_come_back(
    pod: Pod, server: PostgresServer, offsite: dict[str, str]
) -> None:
    fill(server)
    keep = {"KEEP_DAILY": "3", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0"}
    for number in range(1, 7):
        day(pod, number)
    done = pod.run("upload.sh", **keep, **offsite)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("uploaded ") == 6
    kept = sorted(tags(copy)["name"] for copy in copies(pod, offsite))
    assert kept == pod.names()[3:], "the last three days"
    done = pod.run("upload.sh", **keep, **offsite)
    assert last_line(done) == "every backup has its copy"
    day(pod, 7)
    pod.run("upload.sh", **keep, **offsite)
    assert sorted(tags(copy)["name"] for copy in copies(pod, offsite)) == pod.names()[4:]
    done = pod.run("check-offsite.sh", READ_SUBSET="100%", **offsite)
    assert done.returncode == 0, done.stdout
    assert last_line(done) == "the repository is whole: 3 copies"


def test_restic_runs_no_more_often_than_needed_and_forgets_once_a_day_or_by_new_rules(
    pod: Pod, server: PostgresServer, offsite: dict[str, str]
) -> None:
    """Each run computes its key for half a second, and a prune reads the whole index and rewrites packs."""
    restic, ran = pod.directory / "bin" / "restic", pod.directory / "tmp" / "ran"
    itself = restic.rename(restic.with_name("restic-itself"))
    first_word = 'for word; do case $word in -* | s3.*) ;; *) echo "$word"; break ;; esac; done'
    restic.write_text(f'#!/bin/sh\n{{ {first_word}; }} >>{ran}\nexec {itself} "$@"\n')
    restic.chmod(0o755)

    def runs(script: str, **more: str) -> list[str]:
        ran.unlink(missing_ok=True)
        done = pod.run(script, **offsite, **more)
        assert done.returncode == 0, done.stdout
        return ran.read_text().split()

    keep = {"KEEP_DAILY": "1", "KEEP_WEEKLY": "0", "KEEP_MONTHLY": "0", "KEEP_WITHIN": "1h"}
    fill(server)
    day(pod, 1)
    assert runs("upload.sh", **keep) == ["snapshots", "init", "backup", "forget"]
    server.sql("UPDATE invoices SET note = md5(note)")
    day(pod, 1)
    assert runs("upload.sh", **keep) == ["snapshots", "backup"]
    assert runs("upload.sh", **keep) == ["snapshots"]
    assert len(copies(pod, offsite)) == 2
    day(pod, 2)
    assert runs("upload.sh", **keep) == ["snapshots", "backup", "forget", "prune"]
    assert [tags(copy)["name"] for copy in copies(pod, offsite)] == pod.names()[-1:]
    assert runs("upload.sh", **{**keep, "KEEP_DAILY": "2"}) == ["snapshots", "forget"]
    assert runs("check-offsite.sh") == ["snapshots", "check"]
    shutil.rmtree(pod.backups / pod.names()[-1])
    assert runs("fetch.sh", FETCH="latest") == ["snapshots", "restore"]


@contextmanager
def dead_lock(pod: Pod, offsite: dict[str, str], locks: Path, *, host: str) -> Iterator[None]:
    """A lock in the repository, left by a restic that was killed on another host."""
    elsewhere = ["unshare", "--uts", "sh", "-c", f'hostname {host}; exec "$@"', "sh"]
    process = subprocess.Popen(
        [*elsewhere, optional_tools.restic(), "backup", "--stdin"],
        env=pod.environment(**offsite),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not (locks.exists() and list(locks.iterdir())):
            if process.poll() is not None:
                pytest.skip("needs the right to have a host name of its own")
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.kill()
        process.wait()
        yield
    finally:
        process.kill()
        process.wait()


def test_the_lock_of_an_upload_that_was_killed_holds_up_nobody_and_one_of_elsewhere_is_kept(
    pod: Pod, server: PostgresServer, offsite: dict[str, str], s3: S3Server
) -> None:
    fill(server)
    day(pod, 1)
    assert pod.run("upload.sh", **offsite).returncode == 0
    locks = s3.folder / s3.bucket / offsite["RESTIC_REPOSITORY"].rpartition("/")[2] / "locks"
    (pod.backups / ".offsite-hosts").write_text("an-earlier-pod\n")
    with dead_lock(pod, offsite, locks, host="an-earlier-pod"):
        day(pod, 2)
        done = pod.run("upload.sh", **offsite)
        assert done.returncode == 0, done.stdout
        assert "somebody else" not in done.stdout
        assert not locks.exists() or not list(locks.iterdir())
    with dead_lock(pod, offsite, locks, host="laptop"):
        (kept,) = locks.iterdir()
        day(pod, 3)
        done = pod.run("upload.sh", **offsite)
        assert done.returncode == 0, done.stdout
        assert "somebody else uses the repository" in last_line(done)
        assert kept.exists()
        # A fetch waits for nobody.
        shutil.rmtree(pod.backups / pod.names()[-1])
        assert pod.run("fetch.sh", FETCH="latest", **offsite).returncode == 0
        kept.unlink()


def test_a_second_upload_waits_for_the_first(pod: Pod, server: PostgresServer, offsite: dict[str, str]) -> None:
    fill(server, count=8000)
    day(pod, 1)
    first = pod.start("upload.sh", **offsite)
    second = pod.start("upload.sh", **offsite)
    logs = [process.communicate(timeout=120)[0] for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), logs
    assert sorted("every backup has its copy" in log for log in logs) == [False, True]
    assert sum("waiting for another upload or check" in log for log in logs) == 1
    assert len(copies(pod, offsite)) == 1


def test_a_second_fetch_does_not_take_away_what_the_first_has_brought_so_far(
    pod: Pod, server: PostgresServer, offsite: dict[str, str]
) -> None:
    fill(server)
    for number in (1, 2):
        day(pod, number)
    names = pod.names()
    assert pod.run("upload.sh", **offsite).returncode == 0
    for name in names:
        shutil.rmtree(pod.backups / name)
    go_on = pod.directory / "tmp" / "go-on"
    wait = f"while [ ! -e {go_on} ]; do sleep 0.1; done"
    wrap_restic(pod, "restore", f'restic-itself "$@"; status=$?; {wait}; exit $status')
    first = pod.start("fetch.sh", FETCH=names[0], **offsite)
    deadline = time.monotonic() + 60
    while not list(pod.backups.glob(".fetched-*/manifest.json")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    wrap_restic(pod, "restore", 'exec restic-itself "$@"')
    second = pod.run("fetch.sh", FETCH=names[1], **offsite)
    go_on.touch()
    log, _ = first.communicate(timeout=60)
    assert first.returncode == 0, log
    assert second.returncode == 1
    assert last_line(second).startswith("FAILED: another copy is being fetched")
    assert pod.run("fetch.sh", FETCH=names[1], **offsite).returncode == 0
    assert pod.names() == names


def test_copies_of_a_restic_that_counted_no_files_are_listed_and_fetched(
    pod: Pod, backup: str, offsite: dict[str, str]
) -> None:
    assert pod.run("upload.sh", **offsite).returncode == 0
    wrap_restic(pod, "snapshots", """restic-itself "$@" | sed 's/"summary":{[^}]*},//g'; exit""")
    assert [tags(copy)["name"] for copy in copies(pod, offsite)] == [backup]
    shutil.rmtree(pod.backups / backup)
    assert pod.run("fetch.sh", FETCH="latest", **offsite).returncode == 0
    assert pod.names() == [backup]


def test_a_fetched_backup_outlives_the_next_pruning(pod: Pod, server: PostgresServer, offsite: dict[str, str]) -> None:
    fill(server)
    day(pod, 1)
    (first,) = pod.names()
    assert pod.run("upload.sh", **offsite).returncode == 0
    shutil.rmtree(pod.backups / first)
    assert pod.run("fetch.sh", FETCH=first, **offsite).returncode == 0
    for number in range(10, 14):
        pod.set_clock(datetime(2026, 1, number, tzinfo=UTC))
        assert pod.run("backup.sh", KEEP_DAILY="1").returncode == 0
    assert first in pod.names()
    long_ago = time.time() - 3 * 86400
    os.utime(pod.backups / first / "fetched", (long_ago, long_ago))
    assert pod.run("fetch.sh", FETCH=first, **offsite).returncode == 0
    pod.set_clock(datetime(2026, 1, 14, tzinfo=UTC))
    assert pod.run("backup.sh", KEEP_DAILY="1").returncode == 0
    assert first in pod.names(), "one that is there already stays for as long"
    os.utime(pod.backups / first / "fetched", (long_ago, long_ago))
    pod.set_clock(datetime(2026, 1, 15, tzinfo=UTC))
    assert pod.run("backup.sh", KEEP_DAILY="1").returncode == 0
    assert first not in pod.names()


def test_what_a_fetch_that_was_killed_has_left_does_not_fill_the_volume(
    pod: Pod, server: PostgresServer, offsite: dict[str, str]
) -> None:
    fill(server)
    day(pod, 1)
    (name,) = pod.names()
    assert pod.run("upload.sh", **offsite).returncode == 0
    shutil.rmtree(pod.backups / name)
    wrap_restic(pod, "restore", 'restic-itself "$@"; kill -9 $PPID')
    assert pod.run("fetch.sh", FETCH=name, **offsite).returncode != 0
    (left,) = pod.backups.glob(".fetched-*")
    day(pod, 2)
    assert left.exists(), "it may still be under way"
    yesterday = time.time() - 86400 - 60
    os.utime(left, (yesterday, yesterday))
    day(pod, 3)
    assert not left.exists()
