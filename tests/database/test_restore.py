"""restore.sh, as the pod runs it, against a real PostgreSQL 18: the old data stays until the restore has succeeded."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import content, databases, fill
from tests.database.kill_delay import KillDelay
from tests.database.pod import Pod, kill_group, kill_named, small_disk
from tests.kills import kills

KILLS = kills(80)


def bring(pod: Pod, file: Path | bytes) -> None:
    """Puts a file where `ops restore` puts one."""
    data = file if isinstance(file, bytes) else file.read_bytes()
    (pod.upload / "database.dump").write_bytes(data)
    (pod.upload / "database.dump.sha256").write_text(hashlib.sha256(data).hexdigest())


def test_a_restore_brings_the_database_back_as_it_was(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    before = content(server)
    assert pod.run("backup.sh").returncode == 0
    (name,) = pod.names()
    server.sql("DELETE FROM invoice_items; CREATE TABLE payments (invoice integer REFERENCES invoices)")
    changed = content(server)
    done = pod.run("restore.sh", RESTORE_FROM=name)
    assert done.returncode == 0, done.stdout
    assert content(server) == before, "a newer table, or a row, is left over"
    assert databases(server) == ["invoicetron", "postgres"]
    (safety,) = set(pod.names()) - {name}
    assert safety.startswith("before-restore-")
    assert pod.run("restore.sh", RESTORE_FROM=safety).returncode == 0
    assert content(server) == changed, "what was overwritten cannot be had back"


def test_a_dump_of_another_owner_is_taken_as_it_is(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    before = content(server)
    server.sql(
        "CREATE ROLE wsl; CREATE ROLE reader; ALTER TABLE invoices OWNER TO wsl; GRANT SELECT ON products TO reader"
    )
    dump = server.directory / "invoicetron-full-20260205.dump"
    server.run([server.bin / "pg_dump", "-Fc", "-f", dump])
    server.sql("DROP OWNED BY wsl, reader CASCADE; DROP ROLE wsl; DROP ROLE reader; DELETE FROM products")
    bring(pod, dump)
    expected = '{"rows": {"invoices": 500, "invoice_items": 1000}, "partial": true}'
    done = pod.run("restore.sh", RESTORE_FROM="upload", RESTORE_EXPECT=expected)
    assert done.returncode == 0, done.stdout
    assert content(server) == before
    assert server.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == "invoicetron"


def test_an_empty_database_needs_no_dump_before_it_is_filled(pod: Pod, server: PostgresServer, backup: str) -> None:
    server.sql("DROP DATABASE invoicetron", database="postgres")
    server.sql("CREATE DATABASE invoicetron", database="postgres")
    done = pod.run("restore.sh", RESTORE_FROM=backup)
    assert done.returncode == 0, done.stdout
    assert pod.names() == [backup]
    assert server.sql("SELECT count(*) FROM invoices") == "500"


def test_a_dump_that_holds_nothing_is_counted_too(pod: Pod, server: PostgresServer) -> None:
    dump = server.directory / "nothing.dump"
    server.run([server.bin / "pg_dump", "-Fc", "-f", dump])
    fill(server)
    before = content(server)
    bring(pod, dump)
    done = pod.run("restore.sh", RESTORE_FROM="upload", RESTORE_EXPECT='{"rows": {"invoices": 1}, "partial": true}')
    assert done.returncode == 1
    assert "table invoices: 1 rows expected, no found" in done.stdout
    assert content(server) == before


def test_clearing_sessions_empties_them_and_nothing_else(pod: Pod, server: PostgresServer, backup: str) -> None:
    done = pod.run("restore.sh", RESTORE_FROM=backup, RESTORE_CLEAR_SESSIONS="true")
    assert done.returncode == 0, done.stdout
    query = 'SELECT (SELECT count(*) FROM session), (SELECT count(*) FROM "rateLimit"), (SELECT count(*) FROM "user")'
    assert server.sql(query) == "0|0|1"


def test_clearing_sessions_treats_what_refers_to_them_as_its_foreign_key_says(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    server.sql('CREATE TABLE "auditLog" (entry text, session text REFERENCES session ON DELETE SET NULL)')
    server.sql("""INSERT INTO "auditLog" VALUES ('logged in', 's1')""")
    assert pod.run("backup.sh").returncode == 0
    done = pod.run("restore.sh", RESTORE_FROM=pod.names()[0], RESTORE_CLEAR_SESSIONS="true")
    assert done.returncode == 0, done.stdout
    assert server.sql('SELECT entry, session IS NULL FROM "auditLog"') == "logged in|t"
    assert server.sql("SELECT count(*) FROM session") == "0"


def test_sessions_that_must_not_go_stop_the_restore(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    server.sql("CREATE TABLE signatures (session text REFERENCES session); INSERT INTO signatures VALUES ('s1')")
    before = content(server)
    assert pod.run("backup.sh").returncode == 0
    done = pod.run("restore.sh", RESTORE_FROM=pod.names()[0], RESTORE_CLEAR_SESSIONS="true")
    assert done.returncode != 0
    assert "violates foreign key constraint" in done.stdout
    assert done.stdout.endswith("the sessions could not be cleared; the old data is untouched\n")
    assert content(server) == before


def test_a_client_that_stays_connected_is_disconnected_and_finds_the_new_data(
    pod: Pod, server: PostgresServer, backup: str
) -> None:
    with psycopg.connect(server.url) as stubborn:
        stubborn.execute("SELECT 1")
        done = pod.run("restore.sh", RESTORE_FROM=backup)
        assert done.returncode == 0, done.stdout
        with pytest.raises(psycopg.OperationalError):
            stubborn.execute("SELECT 1")
    with psycopg.connect(server.url) as again:
        assert again.execute("SELECT count(*) FROM invoice_items").fetchone() == (1000,)


def newer_format(dump: bytes) -> bytes:
    assert dump[:5] == b"PGDMP"
    return dump[:6] + bytes([dump[6] + 50]) + dump[7:]


def another_byte(dump: bytes) -> bytes:
    place = len(dump) - 200  # among the rows, which come last
    return dump[:place] + bytes([dump[place] ^ 0xFF]) + dump[place + 1 :]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda _: b"CREATE TABLE invoices (id integer);", "the file is no dump in pg_dump's custom format"),
        (lambda _: b"", "the file is no dump in pg_dump's custom format"),
        (newer_format, "unsupported version"),
        (lambda dump: dump[: len(dump) // 3], "the file is no dump in pg_dump's custom format"),
        (lambda dump: dump[:-200], "could not be restored"),
        (another_byte, "could not be restored"),
    ],
    ids=["plain SQL", "empty", "newer format", "truncated early", "truncated late", "damaged"],
)
def test_a_bad_file_changes_nothing(
    pod: Pod, server: PostgresServer, backup: str, change: Callable[[bytes], bytes], reason: str
) -> None:
    before = content(server)
    bring(pod, change((pod.backups / backup / "database.dump").read_bytes()))
    done = pod.run("restore.sh", RESTORE_FROM="upload")
    assert done.returncode != 0
    assert reason in done.stdout
    assert content(server) == before
    assert databases(server) == ["invoicetron", "postgres"]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"RESTORE_FROM": "invoicetron-000009-20260101T000000Z"}, "is no backup; there are:\ninvoicetron-000001"),
        ({"RESTORE_FROM": "../elsewhere"}, "RESTORE_FROM is the name of a backup"),
        ({"RESTORE_EXPECT": '{"rows": {"invoices": 567}, "partial": true}'}, "invoices: 567 rows expected, 500 found"),
        ({"RESTORE_EXPECT": '{"rows": {"bills": 1}, "partial": true}'}, "table bills: 1 rows expected, no found"),
        ({"PGPASSWORD": "wrong"}, "password authentication failed"),
        ({"PGPORT": "1"}, "the database server does not answer"),
    ],
)
def test_a_restore_that_cannot_be_right_changes_nothing(
    pod: Pod, server: PostgresServer, backup: str, more: dict[str, str], reason: str
) -> None:
    before = content(server)
    done = pod.run("restore.sh", **{"RESTORE_FROM": backup, **more})
    assert done.returncode != 0
    assert reason in done.stdout
    assert content(server) == before
    assert databases(server) == ["invoicetron", "postgres"]


def test_sessions_that_cannot_be_cleared_stop_the_restore(pod: Pod, server: PostgresServer) -> None:
    server.sql("CREATE TABLE invoices (id integer)")
    assert pod.run("backup.sh").returncode == 0
    (name,) = pod.names()
    server.sql("INSERT INTO invoices VALUES (1)")
    done = pod.run("restore.sh", RESTORE_FROM=name, RESTORE_CLEAR_SESSIONS="true")
    assert done.returncode != 0
    assert "no table of sessions" in done.stdout
    assert server.sql("SELECT count(*) FROM invoices") == "1"


def test_a_damaged_backup_changes_nothing_even_where_it_would_restore(
    pod: Pod, server: PostgresServer, backup: str
) -> None:
    before = content(server)
    path = pod.backups / backup / "manifest.json"
    found = json.loads(path.read_text())
    path.write_text(path.read_text().replace(found["dumpSha256"], "0" * 64))
    done = pod.run("restore.sh", RESTORE_FROM=backup)
    assert done.returncode != 0
    assert "is damaged" in done.stdout
    assert content(server) == before


def test_nothing_is_replaced_that_could_not_be_saved_first(pod: Pod, server: PostgresServer, backup: str) -> None:
    before = content(server)
    with (pod.backups / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = pod.run("restore.sh", RESTORE_FROM=backup)
    assert done.returncode != 0
    assert "another backup is being taken" in done.stdout
    assert done.stdout.endswith("the old data could not be saved first; it is untouched\n")
    assert content(server) == before
    assert databases(server) == ["invoicetron", "postgres"]


@pytest.mark.parametrize("kind", ["a backup", "a dump without statistics"])
def test_the_restored_tables_have_statistics_at_once(pod: Pod, server: PostgresServer, backup: str, kind: str) -> None:
    if kind != "a backup":
        dump = pod.upload / "without"
        server.run([server.bin / "pg_dump", "-Fc", "--no-statistics", "-f", dump])
        bring(pod, dump)
    done = pod.run("restore.sh", RESTORE_FROM=backup if kind == "a backup" else "upload")
    assert done.returncode == 0, done.stdout
    assert server.sql("SELECT reltuples FROM pg_class WHERE relname = 'invoices'") == "500"
    assert server.sql("SELECT count(*) FROM pg_stats WHERE tablename = 'invoices'") == "3"


def test_without_room_beside_the_old_data_nothing_is_begun(pod: Pod, server: PostgresServer, backup: str) -> None:
    before = content(server)
    path = pod.backups / backup / "manifest.json"
    size = json.loads(path.read_text())["about"]["databaseBytes"]
    path.write_text(path.read_text().replace(f'"databaseBytes": {size}', f'"databaseBytes": {10**15}'))
    done = pod.run("restore.sh", RESTORE_FROM=backup)
    assert done.returncode != 0
    assert "are needed to restore beside the old data" in done.stdout
    assert content(server) == before


def rows_that_do_not_fit(server: PostgresServer) -> None:
    """They compress a thousandfold: the dump is far smaller than any estimate assumes."""
    server.sql("CREATE TABLE padding (t text STORAGE PLAIN)")
    server.sql("INSERT INTO padding SELECT repeat('x', 7000) FROM generate_series(1, 30000)")


def a_log_that_does_not_fit(server: PostgresServer) -> None:
    """Rows of a few bytes; a check writes 1 MiB of write-ahead log for each of them."""
    server.sql("CREATE FUNCTION noise() RETURNS boolean LANGUAGE SQL AS 'SELECT true'")
    server.sql("CREATE TABLE noisy (t text CHECK (noise())); INSERT INTO noisy SELECT 'x' FROM generate_series(1, 600)")
    server.sql(
        "CREATE OR REPLACE FUNCTION noise() RETURNS boolean LANGUAGE SQL AS"
        " $$ SELECT pg_logical_emit_message(false, 'noise', repeat('x', 1 << 20)) IS NOT NULL $$"
    )


@pytest.mark.parametrize(("fill_up", "reason"), [(rows_that_do_not_fit, ""), (a_log_that_does_not_fit, "PANIC")])
def test_a_disk_that_fills_up_keeps_the_old_data_in_a_server_that_runs(
    pod: Pod, server: PostgresServer, fill_up: Callable[[PostgresServer], None], reason: str
) -> None:
    fill_up(server)
    dump = pod.upload / "full.dump"
    server.run([server.bin / "pg_dump", "-Fc", "-f", dump])
    # Nothing of this below pytest's own folder, which the server's user may not enter.
    with (
        TemporaryDirectory() as volume,
        small_disk(disk := Path(volume), 400 << 20),
        PostgresServer(parent=disk) as small,
        TemporaryDirectory() as elsewhere,
    ):
        for folder in (disk, Path(elsewhere)):
            folder.chmod(0o755)
        pod = Pod(small, Path(elsewhere))
        fill(small)
        small.sql("CHECKPOINT")  # otherwise a crash makes the sequences skip numbers
        before = content(small)
        bring(pod, dump)
        (disk / "filler").write_bytes(b"x" * (shutil.disk_usage(disk).free - (200 << 20)))
        done = pod.run("restore.sh", RESTORE_FROM="upload")
        assert done.returncode != 0
        assert done.stdout.endswith("the dump could not be restored; the old data is untouched\n")
        assert content(small) == before
        assert databases(small) == ["invoicetron", "postgres"]
        assert not list(small.data.glob("base/pgsql_tmp/*")), "the room that was set aside is not given back"
        assert reason in small.log.read_text()


def test_attempts_that_replace_nothing_push_out_no_dump_of_replaced_data(pod: Pod, backup: str) -> None:
    for _ in range(3):
        assert pod.run("restore.sh", RESTORE_FROM=backup).returncode == 0
    before = pod.names()
    for _ in range(2):
        done = pod.run("restore.sh", RESTORE_FROM=backup, RESTORE_EXPECT='{"rows": {"bills": 1}, "partial": true}')
        assert done.returncode != 0
        assert "backup before-restore-" in done.stdout, "it had not come to that"
        assert pod.names() == before
    assert pod.run("restore.sh", RESTORE_FROM=backup).returncode == 0
    assert len(pod.names()) == len(before), "the oldest is pruned once there is a newer one"
    assert before[0] not in pod.names()


def test_whatever_is_killed_whenever_the_data_is_the_old_or_the_new(pod: Pod, server: PostgresServer) -> None:
    fill(server, count=8000)
    new = content(server)
    assert pod.run("backup.sh").returncode == 0
    (name,) = pod.names()
    server.sql("DELETE FROM invoice_items; DELETE FROM invoices WHERE id % 2 = 0; CREATE TABLE payments (id integer)")
    old = content(server)
    started = time.monotonic()
    assert pod.run("restore.sh", RESTORE_FROM=name, KEEP_BEFORE_RESTORE="1000").returncode == 0
    usual = time.monotonic() - started
    safety = next(found for found in pod.names() if found.startswith("before-restore"))
    delay = KillDelay(usual, seed=20260205)
    current, killed = new, 0
    for attempt in range(KILLS):
        # Back and forth, so that every attempt replaces something.
        source, goal = (name, new) if current == old else (safety, old)
        process = pod.start("restore.sh", RESTORE_FROM=source, KEEP_BEFORE_RESTORE="1000")
        time.sleep(delay.draw())
        match attempt % 5:
            case 0 | 1 | 2:
                kill_group(process)
            case 3:
                kill_named(process, "pg_restore")
            case _:
                server.kill()
        if not server.running:
            server.start()
        process.communicate(timeout=120)
        killed += process.returncode != 0
        delay.met(process.returncode != 0)
        found = content(server)
        assert found in {current, goal}, f"attempt {attempt} left something between old and new"
        assert process.returncode != 0 or found == goal
        current = found
    assert killed > KILLS / 4, "hardly any kill met a running restore"
    source, goal = (name, new) if current == old else (safety, old)
    done = pod.run("restore.sh", RESTORE_FROM=source)
    assert done.returncode == 0, done.stdout
    assert content(server) == goal
    assert databases(server) == ["invoicetron", "postgres"], "a killed restore's remains are still there"
