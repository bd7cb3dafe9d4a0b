"""drill.sh, as the pods run it, against a real PostgreSQL 18."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import content, fill
from tests.database.pod import Pod


def drill(pod: Pod) -> tuple[int, str]:
    done = pod.run("drill.sh", DRILL=str(pod.drill), PGHOST="nowhere", PGPORT="1")
    return done.returncode, done.stdout


def test_the_drill_restores_the_newest_backup_without_the_database(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    before = content(server)
    assert pod.run("backup.sh").returncode == 0
    server.sql("INSERT INTO products (name) VALUES ('newer')")
    # A clock that was ahead for the first backup does not make that one the newest.
    pod.set_clock(datetime(2020, 1, 1, tzinfo=UTC))
    assert pod.run("backup.sh").returncode == 0
    status, log = drill(pod)
    assert status == 0, log
    assert "-000002-20200101T000000Z restores completely" in log
    assert list(pod.drill.glob("data")) == [], "the copy is still there"
    assert content(server) != before


def test_the_drill_has_as_many_locks_as_the_server_of_the_backup(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    table = "CREATE TABLE t_%s (id serial PRIMARY KEY, note text)"
    server.sql(f"DO $$ BEGIN FOR i IN 1..700 LOOP EXECUTE format('{table}', i); END LOOP; END $$")
    assert pod.run("backup.sh").returncode == 0
    status, log = drill(pod)
    assert status == 0, log
    assert "in many transactions" not in log
    manifest = pod.backups / pod.names()[0] / "manifest.json"
    given = json.loads(manifest.read_text())["about"]
    text = manifest.read_text()
    for key, value in {"connections": 20, "locksPerTransaction": 30}.items():
        text = text.replace(f'"{key}": {given[key]}', f'"{key}": {value}')
    manifest.write_text(text)
    status, log = drill(pod)
    assert status == 0, log
    assert "once more, in many transactions" in log


def test_a_user_without_a_name_gets_one_for_initdb(pod: Pod, server: PostgresServer) -> None:
    """As the pod's user is in the images that are based on Debian, which contain nss_wrapper (its entrypoint's way)."""
    fill(server)
    assert pod.run("backup.sh").returncode == 0
    wrapper = pod.directory / "libnss_wrapper.so"
    wrapper.write_text("stands for the library")
    for program, does in {
        "id": f'[ "$1" != -un ] || exit 1; exec {shutil.which("id")} "$@"',
        "initdb": f'[ "$LD_PRELOAD" = {wrapper} ] && [ -r "$NSS_WRAPPER_GROUP" ] && '
        f'grep -q "^postgres:x:$(id -u):$(id -g):" "$NSS_WRAPPER_PASSWD" || exit 9\n'
        f'unset LD_PRELOAD; exec {server.bin}/initdb "$@"',
    }.items():
        file = pod.directory / "bin" / program
        file.unlink(missing_ok=True)
        file.write_text(f"#!/bin/sh\n{does}\n")
        file.chmod(0o755)
    done = pod.run("drill.sh", DRILL=str(pod.drill), PGHOST="nowhere", PGPORT="1", NSS_WRAPPER=str(wrapper))
    assert done.returncode == 0, done.stdout


def test_the_drill_fails_without_a_backup(pod: Pod) -> None:
    status, log = drill(pod)
    assert status != 0
    assert "there is no backup" in log


def lose_the_dump(backup: Path) -> None:
    (backup / "database.dump").unlink()


def lose_the_manifest(backup: Path) -> None:
    (backup / "manifest.json").unlink()


def shorten_the_dump(backup: Path) -> None:
    os.truncate(backup / "database.dump", 100)


def shorten_the_manifest(backup: Path) -> None:
    path = backup / "manifest.json"
    os.truncate(path, path.stat().st_size - 20)


@pytest.mark.parametrize("damage", [lose_the_dump, lose_the_manifest, shorten_the_dump, shorten_the_manifest])
@pytest.mark.parametrize("which", [0, 1])
def test_the_drill_names_a_backup_that_is_not_whole_any_more(
    pod: Pod, server: PostgresServer, damage: Callable[[Path], None], which: int
) -> None:
    fill(server)
    for _ in range(2):
        assert pod.run("backup.sh").returncode == 0
    damage(pod.backups / pod.names()[which])
    status, log = drill(pod)
    assert status != 0
    assert f"{pod.names()[which]} is no whole backup any more" in log
    assert pod.run("backup.sh").returncode == 0
    assert [name.split("-")[1] for name in pod.names()] == ["000001", "000002", "000003"], "its number is taken"


def test_after_the_last_number_no_backup_is_taken_that_nobody_would_find(pod: Pod, server: PostgresServer) -> None:
    server.sql("CREATE TABLE invoices (id integer)")
    pod.folder(pod.backups / "invoicetron-999999-20260101T000000Z")
    done = pod.run("backup.sh")
    assert done.returncode != 0
    assert "no number follows" in done.stdout
    assert len(pod.names()) == 1


def test_a_backup_that_is_pruned_while_the_drill_looks_is_none_that_lost_something(
    pod: Pod, server: PostgresServer
) -> None:
    server.sql("CREATE TABLE invoices (id integer)")
    for _ in range(2):
        assert pod.run("backup.sh").returncode == 0
    oldest, _ = pod.names()
    script = pod.scripts / "drill.sh"
    look = 'is_backup "$backups/$name"'
    script.write_text(
        script.read_text().replace(look, f'[ "$name" != {oldest} ] || remove_backup "$name"\n  {look}', 1)
    )
    status, log = drill(pod)
    assert status == 0, log
    assert oldest not in pod.names()


def damage_a_byte(pod: Pod, name: str) -> None:
    dump = pod.backups / name / "database.dump"
    damaged = bytearray(dump.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    dump.write_bytes(damaged)


def forget_a_row(pod: Pod, name: str) -> None:
    path = pod.backups / name / "manifest.json"
    path.write_text(path.read_text().replace('"invoices": 500', '"invoices": 501'))


def lose_a_table(pod: Pod, name: str) -> None:
    path = pod.backups / name / "manifest.json"
    path.write_text(path.read_text().replace('"invoices": 500', '"invoices": 500, "credit_notes": 3'))


def forget_a_migration(pod: Pod, name: str) -> None:
    path = pod.backups / name / "manifest.json"
    path.write_text(path.read_text().replace("20250601000000_items", "20250901000000_later"))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_a_byte, "is damaged"),
        (forget_a_row, "table invoices: 501 rows expected, 500 found"),
        (lose_a_table, "table credit_notes: 3 rows expected, no found"),
        (forget_a_migration, "last migration: 20250901000000_later expected, 20250601000000_items found"),
    ],
)
def test_the_drill_fails_loudly_where_the_copy_differs(
    pod: Pod, server: PostgresServer, damage: Callable[[Pod, str], None], reason: str
) -> None:
    fill(server)
    assert pod.run("backup.sh").returncode == 0
    damage(pod, pod.names()[0])
    status, log = drill(pod)
    assert status != 0
    assert reason in log
