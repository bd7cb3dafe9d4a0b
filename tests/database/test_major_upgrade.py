"""upgrade.sh, as the pods run it: from a real PostgreSQL 17 to a data directory of PostgreSQL 18."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.pods.postgres import PostgresServer, programs
from tests.database.invoices import content, fill
from tests.database.pod import Pod, kill_group
from tests.database.start_hook import connect, lets_in, start_hook
from tests.database.written import written

KILLS = 4


@pytest.fixture
def old() -> Iterator[PostgresServer]:
    """The server of a stack on PostgreSQL 17; the app's role owns its database and is not a superuser."""
    with PostgresServer(major=17) as server:
        assert start_hook(server, server.password).returncode == 0
        yield server


@pytest.fixture
def pod(old: PostgresServer) -> Pod:
    """A pod of the PostgreSQL 18 image beside it, while `ops upgrade` lends the role superuser."""
    directory = old.directory / "pod"
    directory.mkdir()
    pod = Pod(old, directory, clients=programs(18, old.directory / "program-18", old.account))
    pod.folder(directory / "volume")
    return pod


def upgrade(pod: Pod, *parameters: str) -> tuple[int, str]:
    pod.server.sql("ALTER ROLE invoicetron SUPERUSER")
    volume = pod.directory / "volume"
    done = pod.run(
        "upgrade.sh", *parameters, VOLUME=str(volume), RESULT=str(pod.upload / "result"), RESTORE_LENT="true"
    )
    return done.returncode, done.stdout


def on_the_new_volume(pod: Pod) -> PostgresServer:
    """A PostgreSQL 18 server on the new data directory, as the StatefulSet's next pod starts it."""
    return PostgresServer(password=pod.server.password, data=pod.directory / "volume" / "18" / "docker")


def made(pod: Pod) -> list[str]:
    """What the volume holds for the new version."""
    folder = pod.directory / "volume" / "18"
    return sorted(one.name for one in folder.iterdir()) if folder.exists() else []


def test_everything_is_there_on_the_new_version_with_roles_passwords_and_owner(pod: Pod, old: PostgresServer) -> None:
    fill(old)
    old.sql(
        "CREATE ROLE clerk LOGIN PASSWORD 'of-the-clerk' CONNECTION LIMIT 3; CREATE ROLE readers NOLOGIN;"
        "GRANT readers TO clerk; GRANT SELECT ON invoices TO readers; ALTER ROLE clerk SET work_mem = '5MB';"
        "ALTER DATABASE invoicetron SET timezone = 'Asia/Manila'; CREATE POLICY own ON invoices TO clerk USING (id > 3)"
    )
    tools = programs(18, old.directory / "program-18", old.account)
    before, as_written = content(old), written(old, passwords=True, programs=tools)
    status, log = upgrade(pod, "--shared_buffers=64MB", "--lock_timeout=1min")
    assert status == 0, log
    assert made(pod) == ["docker"]
    assert "of-the-clerk" not in log
    assert "SCRAM" not in log + (pod.upload / "server.log").read_text()
    assert content(old) == before
    assert written(old, passwords=True, programs=tools) == as_written, (
        "the old server has changed, or its role is still a superuser"
    )
    old.stop()
    with on_the_new_volume(pod) as new:
        new.find_superuser()
        assert new.superuser == "postgres"
        assert new.sql("SHOW server_version_num").startswith("18")
        assert content(new) == before
        assert written(new, passwords=True) == as_written
        assert start_hook(new, old.password).returncode == 0
        assert lets_in(new, old.password)
        with connect(new, old.password) as app:
            assert app.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (False,)
        tables = "SELECT count(*) FROM pg_class WHERE relname = 'invoices' AND reltuples = 500"
        assert new.sql(tables) == "1", "the planner knows nothing of the tables"
        again = Pod(new, pod.folder(pod.directory / "later"))
        shutil.rmtree(again.backups)
        again.backups = pod.backups
        assert again.run("backup.sh").returncode == 0


def test_what_the_next_version_does_not_take_is_said_at_once_and_nothing_is_made(pod: Pod, old: PostgresServer) -> None:
    fill(old)
    status, log = upgrade(pod, "--shared_buffers=64MB", "--db_user_namespace=on", "--old_snapshot_threshold=1h")
    assert status != 0
    *_, first, second = log.strip().splitlines()
    assert first == '  db_user_namespace: unrecognized configuration parameter "db_user_namespace"'
    assert second == '  old_snapshot_threshold: unrecognized configuration parameter "old_snapshot_threshold"'
    assert made(pod) == []
    assert pod.names() == []
    assert old.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'invoicetron'") == "f"


def test_an_empty_database_becomes_an_empty_database(pod: Pod) -> None:
    status, log = upgrade(pod)
    assert status == 0, log
    assert "nothing to move" in log
    assert made(pod) == ["docker"]


def test_a_server_of_the_same_version_is_left_alone(pod: Pod, server: PostgresServer) -> None:
    (there := pod.directory / "volume" / "18" / "docker").mkdir(parents=True)
    environment = {"PGPORT": str(server.port), "PGPASSWORD": server.password, "VOLUME": str(pod.directory / "volume")}
    done = pod.run("upgrade.sh", **environment)
    assert done.returncode != 0
    assert "is on PostgreSQL 18 already" in done.stdout
    assert there.exists()


def test_a_backup_of_the_old_version_can_be_restored_into_the_new_one(
    old: PostgresServer, server: PostgresServer
) -> None:
    fill(old)
    before = content(old)
    directory = old.directory / "with-17"
    directory.mkdir()
    own = Pod(old, directory)
    assert own.run("backup.sh").returncode == 0
    old.sql("DELETE FROM invoice_items")
    old.sql("ALTER ROLE invoicetron SUPERUSER")
    done = own.run("restore.sh", RESTORE_FROM="latest", RESTORE_LENT="true")
    assert done.returncode == 0, done.stdout
    assert content(old) == before

    (name,) = (one for one in own.names() if one.startswith("invoicetron-"))
    server.sql("DROP DATABASE IF EXISTS invoicetron WITH (FORCE)", database="postgres")
    server.sql("CREATE DATABASE invoicetron", database="postgres")
    next_directory = old.directory / "with-18"
    next_directory.mkdir()
    after = Pod(server, next_directory)
    shutil.copytree(own.backups / name, after.backups / name)
    for path in (after.backups / name, *(after.backups / name).iterdir()):
        after.give(path)
    for script in ("drill.sh", "restore.sh"):
        done = after.run(script, RESTORE_FROM=name, DRILL=str(after.drill))
        assert done.returncode == 0, done.stdout
    assert content(server) == before


def test_whatever_is_killed_whenever_a_directory_of_the_new_version_is_complete_or_is_none(
    pod: Pod, old: PostgresServer
) -> None:
    fill(old, count=1000)
    before = content(old)
    began = time.monotonic()
    status, log = upgrade(pod)
    assert status == 0, log
    usual = time.monotonic() - began
    killed = 0
    for attempt in range(2 * KILLS):
        pod.server.sql("ALTER ROLE invoicetron SUPERUSER")
        process = pod.start("upgrade.sh", VOLUME=str(pod.directory / "volume"), RESTORE_LENT="true")
        time.sleep(usual * (killed + 0.5) / KILLS)
        kill_group(process)
        process.communicate(timeout=60)
        if process.returncode:
            killed += 1
        else:
            usual /= 1.5  # the machine is less busy than it was
        assert content(old) == before, f"attempt {attempt} has changed the old data"
        kill_servers(pod)
        shutil.rmtree(pod.upload)  # the next pod's is empty
        pod.folder(pod.upload)
        if "docker" in made(pod):
            with on_the_new_volume(pod) as new:
                assert content(new) == before, f"attempt {attempt} left a directory that is not complete"
                new.stop()
        if killed == KILLS:
            break
    assert killed > KILLS / 2, "hardly any kill met a running upgrade"
    status, log = upgrade(pod)
    assert status == 0, log
    assert made(pod) == ["docker"]


def kill_servers(pod: Pod) -> None:
    """Kills the servers of the killed pod, which would have ended with its container."""
    volume = str(pod.directory / "volume").encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if volume in (process / "cmdline").read_bytes():
                os.kill(int(process.name), 9)
        except OSError:
            continue
