"""backup.sh, as the pods run it, against a real PostgreSQL 18."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import fill
from tests.database.kill_delay import KillDelay
from tests.database.pod import Pod, kill_group, kill_named
from tests.kills import kills

KILLS = kills(100)


def manifest(pod: Pod, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((pod.backups / name / "manifest.json").read_text())
    return found


def assert_restores(pod: Pod, server: PostgresServer, name: str) -> None:
    """Asserts that the backup restores into an empty database, which then holds what the manifest says."""
    server.sql("DROP DATABASE IF EXISTS proof WITH (FORCE)", database="postgres")
    server.sql("CREATE DATABASE proof TEMPLATE template0", database="postgres")
    dump = pod.backups / name / "database.dump"
    server.run([server.bin / "pg_restore", "--exit-on-error", "--dbname=proof", dump])
    inventory = server.run(
        [server.bin / "psql", "-XqAt", "-d", "proof", "-f", pod.scripts / "inventory.sql"], capture_output=True
    )
    assert json.loads(inventory.stdout) == manifest(pod, name)["inventory"]
    server.sql("DROP DATABASE proof", database="postgres")


@contextmanager
def writer(server: PostgresServer) -> Iterator[None]:
    """Commits invoices with their items, and occasionally truncates a table, for as long as the block runs."""
    stop = threading.Event()

    def write() -> None:
        with psycopg.connect(server.url, autocommit=True) as connection:
            number = 0
            while not stop.is_set():
                number += 1
                with connection.transaction():
                    row = connection.execute("INSERT INTO invoices (number) VALUES (%s) RETURNING id", [f"W-{number}"])
                    connection.execute("INSERT INTO invoice_items (invoice, amount) VALUES (%s, 1)", row.fetchone())
                if number % 2000 == 0:
                    connection.execute("TRUNCATE products")
                    connection.execute("INSERT INTO products (name) SELECT 'again' FROM generate_series(1, 9)")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_backup_says_what_it_holds(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    done = pod.run("backup.sh")
    assert done.returncode == 0, done.stdout
    (name,) = pod.names()
    found = manifest(pod, name)
    assert found["name"] == name
    assert found["inventory"]["rows"]["invoices"] == 500
    assert found["inventory"]["rows"]["reports.totals"] == 1
    assert found["inventory"]["lastMigration"] == "20250601000000_items", "neither undone nor unfinished ones"
    assert found["about"]["serverVersion"].startswith("18.")
    assert found["dumpBytes"] == (pod.backups / name / "database.dump").stat().st_size
    assert_restores(pod, server, name)


def test_the_manifest_and_the_dump_are_of_one_moment_while_a_writer_commits(pod: Pod, server: PostgresServer) -> None:
    fill(server, count=20000)
    with writer(server):
        for day in range(1, 6):
            pod.set_clock(datetime(2026, 2, day, tzinfo=UTC))
            done = pod.run("backup.sh")
            assert done.returncode == 0, done.stdout
    counts = {manifest(pod, name)["inventory"]["rows"]["invoices"] for name in pod.names()}
    assert len(counts) == 5, "the writer was not writing"
    for name in pod.names():
        assert_restores(pod, server, name)


def test_whatever_is_killed_whenever_every_backup_restores_completely(pod: Pod, server: PostgresServer) -> None:
    fill(server, count=8000)
    started = time.monotonic()
    assert pod.run("backup.sh").returncode == 0
    usual = time.monotonic() - started
    delay = KillDelay(usual, seed=20260204)
    proved: set[str] = set()
    failures = 0
    for attempt in range(KILLS):
        process = pod.start("backup.sh")
        time.sleep(delay.draw())
        match attempt % 5:
            case 0 | 1:
                kill_group(process)
            case 2 | 3:
                kill_named(process, "pg_dump")
            case _:
                server.kill()
        log, _ = process.communicate(timeout=60)
        if not server.running:
            server.start()
        failures += process.returncode != 0
        delay.met(process.returncode != 0)
        for name in set(pod.names()) - proved:
            assert_restores(pod, server, name)
            proved.add(name)
        assert process.returncode != 0 or "is complete" in log
    assert failures > KILLS / 4, "hardly any kill met a running backup"
    assert pod.run("backup.sh").returncode == 0, "the remains of a killed backup are in the way of the next"
    assert not [path for path in pod.backups.iterdir() if path.name.startswith(".unfinished")]


@pytest.mark.parametrize("kind", ["small tmpfs", "file size limit"])
def test_a_full_disk_leaves_no_backup_and_says_so(pod: Pod, server: PostgresServer, kind: str) -> None:
    fill(server, count=20000)
    assert pod.run("backup.sh").returncode == 0
    (first,) = pod.names()
    size = manifest(pod, first)["dumpBytes"]
    for part in range(1, 11):
        with pod.limited(kind, int(size * part / 11)) as environment:
            done = pod.run("backup.sh", **environment)
            assert done.returncode != 0, done.stdout
            assert "FAILED: no backup was taken" in done.stdout or "cannot be written" in done.stdout
            assert [name for name in pod.names() if name != first] == []
    with pod.limited(kind, size * 2) as environment:
        done = pod.run("backup.sh", **environment)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("others", "told"), [(0, False), (8 << 20, False), (26 << 20, True)])
def test_a_good_backup_on_a_nearly_full_volume_succeeds_and_says_so(
    pod: Pod, server: PostgresServer, others: int, *, told: bool
) -> None:
    fill(server)
    with pod.limited("small tmpfs", 32 << 20):
        kept = pod.folder(pod.backups / "kept")  # stands for the backups before
        (kept / "rows").write_bytes(b"x" * others)
        before = time.monotonic()
        done = pod.run("backup.sh", SEEN_SECONDS="10")
        assert done.returncode == 0, done.stdout
        assert ("NEARLY FULL: the backup is good, but its volume is 8" in done.stdout) == told, done.stdout
        assert (time.monotonic() - before > 10) == told, "a pod stays until the kubelet has measured a full volume"
        (name,) = set(pod.names()) - {"kept"}
        assert_restores(pod, server, name)


def test_a_backup_that_stays_to_be_measured_is_in_nobody_s_way(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    with pod.limited("small tmpfs", 32 << 20):
        kept = pod.folder(pod.backups / "kept")  # stands for the backups before
        (kept / "rows").write_bytes(b"x" * (26 << 20))
        staying = pod.start("backup.sh", SEEN_SECONDS="30")
        try:
            assert staying.stdout is not None
            while "NEARLY FULL" not in (line := staying.stdout.readline()):
                assert line, "it ended"
            done = pod.run("backup.sh", SEEN_SECONDS="0")
            assert done.returncode == 0, done.stdout
            assert staying.poll() is None, "the first one had ended"
        finally:
            kill_group(staying)


def test_a_volume_that_others_have_filled_is_not_nearly_full_while_it_has_room_for_as_many_backups(
    pod: Pod, server: PostgresServer
) -> None:
    fill(server)
    with pod.limited("small tmpfs", 32 << 20):
        (pod.backups / "somebody-elses").write_bytes(b"x" * (26 << 20))
        done = pod.run("backup.sh")
    assert done.returncode == 0, done.stdout
    assert "NEARLY FULL" not in done.stdout


def test_a_server_that_comes_back_is_waited_for(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    server.stop()
    try:
        process = pod.start("backup.sh", PATIENCE="60")
        assert process.stdout is not None
        assert "waiting for the server: 127.0.0.1" in process.stdout.readline()
    finally:
        server.start()
    log, _ = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert_restores(pod, server, *pod.names())


def test_a_server_that_does_not_come_back_ends_the_wait_with_the_reason(pod: Pod) -> None:
    started = time.monotonic()
    done = pod.run("backup.sh", PATIENCE="2", PGPORT="1")
    assert 1 < time.monotonic() - started < 15
    assert done.returncode == 1
    assert done.stdout.endswith("did not get ready within 2 s: 127.0.0.1:1 - no response\n")
    assert pod.names() == []


def test_a_backup_that_waits_for_the_server_ends_when_its_pod_is_deleted(pod: Pod) -> None:
    process = pod.start("backup.sh", PATIENCE="600", PGPORT="1")
    assert process.stdout is not None
    process.stdout.readline()
    process.terminate()
    assert process.wait(timeout=10) == 143
    assert pod.names() == []


def test_a_wrong_password_is_named_and_never_shown(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    done = pod.run("backup.sh", PGPASSWORD="not-the-password")
    assert done.returncode != 0
    assert "password authentication failed" in done.stdout
    assert "not-the-password" not in done.stdout
    assert pod.names() == []


def test_a_lost_connection_leaves_no_backup(pod: Pod, server: PostgresServer) -> None:
    fill(server, count=60000)
    process = pod.start("backup.sh")
    ended = "0"
    while ended == "0" and process.poll() is None:
        ended = server.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pg_dump'"
        )
    log, _ = process.communicate(timeout=60)
    assert process.returncode != 0, log
    assert "FAILED: no backup was taken" in log
    assert pod.names() == []


def test_a_database_without_tables_is_nothing_to_back_up(pod: Pod) -> None:
    done = pod.run("backup.sh")
    assert done.returncode != 0
    assert "no tables yet" in done.stdout
    assert pod.names() == []


def test_nothing_is_pruned_when_the_dump_fails(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    for day in (1, 2, 3):
        pod.set_clock(datetime(2026, 2, day, tzinfo=UTC))
        assert pod.run("backup.sh").returncode == 0
    before = pod.names()
    assert pod.run("backup.sh", KEEP_DAILY="1", PGPASSWORD="wrong").returncode != 0
    assert pod.names() == before
    assert pod.run("backup.sh", KEEP_DAILY="1").returncode == 0
    assert before[0] not in pod.names()


def test_two_backups_do_not_run_at_once(pod: Pod, server: PostgresServer) -> None:
    fill(server, count=60000)
    first = pod.start("backup.sh")
    while not list(pod.backups.glob(".unfinished-*")):
        time.sleep(0.005)
    second = pod.run("backup.sh")
    log, _ = first.communicate(timeout=60)
    assert first.returncode == 0, log
    assert second.returncode != 0
    assert "another backup is being taken" in second.stdout
    assert len(pod.names()) == 1


def test_a_restore_that_waits_for_its_file_costs_no_backup(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    waiting = pod.start("restore.sh", RESTORE_FROM="upload")
    try:
        assert waiting.stdout is not None
        assert "waiting for the file" in waiting.stdout.readline()
        done = pod.run("backup.sh")
        assert waiting.poll() is None
    finally:
        kill_group(waiting)
    assert done.returncode == 0, done.stdout
    assert len(pod.names()) == 1


def test_small_dumps_are_taken_every_hour_and_large_ones_once_a_day(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    scheduled = f"invoicetron-db-backup-{time.time() // 60 - 1:.0f}"
    hourly = {"HOURLY_IF_SMALL": "true", "TAKEN_BY": scheduled}

    def run(**environment: str) -> str:
        done = pod.run("backup.sh", **environment)
        assert done.returncode == 0, done.stdout
        return done.stdout

    result = pod.upload / "result"
    for count in (1, 2):
        run(**hourly, RESULT=str(result))
        assert len(pod.names()) == count
    said = json.loads(result.read_text())
    assert said["backup"] == pod.names()[-1]
    # The number of dumps to keep no longer fits into half of the volume.
    large = {**hourly, "KEEP_DAILY": str(10**9)}
    result.unlink()
    assert "one a day is taken, and the last is not a day old" in run(**large, RESULT=str(result))
    assert len(pod.names()) == 2
    assert json.loads(result.read_text()) | {"seconds": 0} == said | {"seconds": 0}
    manifest_ = pod.backups / pod.names()[-1] / "manifest.json"
    manifest_.write_text(re.sub(r'"seconds": \d+', '"seconds": 61', manifest_.read_text()))
    assert "the last dump had" in run(**hourly)
    assert len(pod.names()) == 2, "it took more than a minute"
    a_day_ago = time.time() - 24 * 3600
    os.utime(manifest_, (a_day_ago, a_day_ago))
    run(**large)
    assert len(pod.names()) == 3
    # backup.sh takes a backup that somebody asks for, and one of a schedule that the stack file names.
    others = (
        "rommel@laptop",
        "invoicetron-db-backup-ci-12345678",
        "invoicetron-db-backup-1234567890123",
        "by-hand",
        "",
    )
    for count, by in enumerate(others, start=4):
        run(**large | {"TAKEN_BY": by})
        assert len(pod.names()) == count
    run(TAKEN_BY=scheduled)
    assert len(pod.names()) == 9


@pytest.mark.parametrize(("hours", "due"), [(-72, True), (-1, True), (1, False), (23, False), (23.6, True)], ids=str)
def test_a_large_dump_is_due_a_day_after_the_last_and_whenever_that_is_of_a_time_to_come(
    pod: Pod, server: PostgresServer, hours: float, *, due: bool
) -> None:
    fill(server)
    assert pod.run("backup.sh").returncode == 0
    written = time.time() - hours * 3600
    os.utime(pod.backups / pod.names()[0] / "manifest.json", (written, written))
    scheduled = f"invoicetron-db-backup-{time.time() // 60:.0f}"
    done = pod.run("backup.sh", HOURLY_IF_SMALL="true", TAKEN_BY=scheduled, KEEP_DAILY=str(10**9))
    assert done.returncode == 0, done.stdout
    assert (len(pod.names()) == 2) == due


@pytest.mark.parametrize("controller", [0, -2])
def test_a_large_dump_is_not_taken_again_because_the_pods_clock_is_behind_others(
    pod: Pod, server: PostgresServer, controller: int
) -> None:
    """Behind the volume's, which is an NFS server's, and behind the controller's unless that is equally late."""
    fill(server)
    assert pod.run("backup.sh").returncode == 0
    now = datetime.now(UTC)
    pod.set_clock(now - timedelta(hours=2))
    scheduled = f"invoicetron-db-backup-{(now + timedelta(hours=controller)).timestamp() // 60:.0f}"
    done = pod.run("backup.sh", HOURLY_IF_SMALL="true", TAKEN_BY=scheduled, KEEP_DAILY=str(10**9))
    assert done.returncode == 0, done.stdout
    assert len(pod.names()) == 1


def test_a_clock_that_is_set_during_a_dump_does_not_make_it_a_long_one(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    now = datetime.now(UTC)
    pod.set_clock(now)
    programs = pod.directory / "bin"
    set_clock = f"sed -i 's/@[0-9]*/@{(now + timedelta(hours=2)).timestamp():.0f}/' {programs / 'date'}"
    (programs / "pg_dump").write_text(f'#!/bin/sh\n{set_clock}\nexec {server.bin / "pg_dump"} "$@"\n')
    (programs / "pg_dump").chmod(0o755)
    assert pod.run("backup.sh", RESULT=str(pod.upload / "result")).returncode == 0
    (name,) = pod.names()
    assert json.loads((pod.backups / name / "manifest.json").read_text())["seconds"] < 60
    assert json.loads((pod.upload / "result").read_text())["seconds"] < 60
