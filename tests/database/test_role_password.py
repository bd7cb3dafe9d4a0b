"""What the database's pod runs beside its server, against a real PostgreSQL 18: each start sets the Secret's password,
and a shutdown waits for nobody."""

from __future__ import annotations

import string
import subprocess
import time
from collections.abc import Iterator
from typing import Final

import psycopg
import pytest

from components.database import SHUTDOWN
from rehearsal.pods.postgres import PostgresServer
from tests.database.nameless import as_nameless
from tests.database.start_hook import connect, lets_in, start_hook

OLD: Final = "the-old-password"
NEW: Final = "the-new-password"
URL_SAFE: Final = string.ascii_letters + string.digits + "-._~"
TALKATIVE: Final = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_min_error_statement": "debug5",
    "log_connections": "all",
}


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    """A server that logs every statement."""
    with PostgresServer(password=OLD, settings=TALKATIVE) as server:
        yield server


@pytest.fixture(autouse=True)
def with_the_old_password(database: PostgresServer) -> None:
    """Each test starts with a running server whose role has the old password."""
    if not database.running:
        database.start()
    assert start_hook(database, OLD).returncode == 0


def test_at_the_first_start_the_password_is_the_one_the_data_directory_was_made_with() -> None:
    with PostgresServer(password=NEW) as fresh:
        assert start_hook(fresh, NEW).returncode == 0
        assert lets_in(fresh, NEW)
        assert not lets_in(fresh, OLD)


def test_a_restart_with_the_same_password_changes_nothing_for_the_app(database: PostgresServer) -> None:
    database.restart()
    assert start_hook(database, OLD).returncode == 0
    assert lets_in(database, OLD)


def test_a_user_without_a_name_sets_the_password_too(database: PostgresServer) -> None:
    hook = start_hook(database, NEW, prefix=as_nameless(database), patience=3)
    assert hook.returncode == 0, hook.stderr
    assert lets_in(database, NEW)


@pytest.mark.parametrize(
    "setting", ["default_transaction_read_only = on", "role = pg_monitor", "statement_timeout = 1", "lock_timeout = 1"]
)
def test_what_is_set_for_the_role_does_not_keep_the_password_from_being_set(
    database: PostgresServer, setting: str
) -> None:
    database.sql(f"GRANT pg_monitor TO invoicetron; ALTER ROLE invoicetron SET {setting}")
    try:
        hook = start_hook(database, NEW)
        assert hook.returncode == 0, hook.stderr
        assert lets_in(database, NEW)
    finally:
        env = database.environment(
            local=True,
            PGUSER=database.superuser,
            PGOPTIONS="-c default_transaction_read_only=off -c role=none -c statement_timeout=0",
        )
        for statement in ("ALTER ROLE invoicetron RESET ALL", "REVOKE pg_monitor FROM invoicetron"):
            database.run([database.bin / "psql", "-Xq", "-d", "postgres", "-c", statement], env=env)


def test_a_restart_with_a_new_password_while_the_app_is_connected_lets_it_back_in_with_the_new_one(
    database: PostgresServer,
) -> None:
    app = connect(database, OLD)
    database.restart()
    with pytest.raises(psycopg.OperationalError):
        app.execute("SELECT 1")
    early = connect(database, OLD)
    assert start_hook(database, NEW).returncode == 0
    assert lets_in(database, NEW)
    assert not lets_in(database, OLD)
    assert early.execute("SELECT 1").fetchone() == (1,), "who got in before the change is not thrown out by it"


@pytest.mark.parametrize(
    "password",
    [URL_SAFE, URL_SAFE[::-1], "-n", "~", "...", "_" * 200, f"md5{'0' * 32}"],
    ids=["all", "backwards", "an-option", "a-home", "a-path", "long", "like-a-hash"],
)
def test_every_url_safe_password_can_be_set(database: PostgresServer, password: str) -> None:
    done = start_hook(database, password)
    assert done.returncode == 0, done.stderr
    assert lets_in(database, password)


def test_a_crash_before_the_change_is_healed_by_the_next_start(database: PostgresServer) -> None:
    database.kill()
    assert start_hook(database, NEW, patience=0).returncode != 0
    database.start()
    assert lets_in(database, OLD)
    assert start_hook(database, NEW).returncode == 0
    assert lets_in(database, NEW)


def test_a_crash_right_after_the_change_does_not_take_it_back(database: PostgresServer) -> None:
    assert start_hook(database, NEW).returncode == 0
    database.kill()
    database.start()
    assert lets_in(database, NEW)


def test_neither_the_password_nor_its_hash_is_in_the_log_of_a_server_that_logs_everything(
    database: PostgresServer,
) -> None:
    start = database.log.stat().st_size
    database.sql("SELECT 'seen'")
    assert start_hook(database, NEW).returncode == 0
    logged = database.log.read_text()[start:]
    assert "SELECT 'seen'" in logged
    assert logged.count("connection authorized: user=invoicetron") == 2
    assert NEW not in logged
    assert "SCRAM-SHA-256$" not in logged


def test_the_password_is_on_no_command_line_and_in_no_output(database: PostgresServer) -> None:
    spy = database.directory / "spy"
    spy.mkdir()
    seen = spy / "seen"
    seen.touch(mode=0o666)
    seen.chmod(0o666)
    for program in ("psql", "pg_isready"):
        wrapper = spy / program
        wrapper.write_text(f'#!/bin/sh\necho "{program} $*" >>{seen}\nexec {database.bin / program} "$@"\n')
        wrapper.chmod(0o755)
    done = start_hook(database, NEW, path=spy)
    assert done.returncode == 0
    commands = seen.read_text()
    assert "psql " in commands
    assert "pg_isready " in commands
    assert NEW not in commands + done.stdout + done.stderr


def test_a_server_that_never_comes_ends_the_wait_with_a_reason(database: PostgresServer) -> None:
    database.stop()
    started = time.monotonic()
    done = start_hook(database, NEW, patience=2)
    assert 2 <= time.monotonic() - started < 15
    assert done.returncode != 0
    assert "did not answer on localhost within 2 s; the password was NOT set" in done.stderr
    assert NEW not in done.stderr


def test_the_temporary_server_of_an_initialisation_is_not_mistaken_for_the_one_that_stays(
    database: PostgresServer,
) -> None:
    database.stop()
    command = [str(database.bin / "postgres"), "-D", str(database.data), "-p", str(database.port), "-h", ""]
    with subprocess.Popen(
        [*command, "-k", str(database.socket_directory)], stderr=subprocess.DEVNULL, **database.account
    ) as temporary:
        local = database.environment(local=True)
        ready = [str(database.bin / "pg_isready"), "-q"]
        deadline = time.monotonic() + 30
        while subprocess.run(ready, env=local, check=False, **database.account).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert start_hook(database, NEW, patience=1).returncode != 0
        temporary.terminate()
    database.start()
    assert lets_in(database, OLD)


def test_a_server_whose_database_somebody_has_moved_away_starts(database: PostgresServer) -> None:
    database.sql("ALTER DATABASE invoicetron RENAME TO invoicetron_damaged", database="postgres")
    try:
        done = start_hook(database, NEW)
    finally:
        database.sql("ALTER DATABASE invoicetron_damaged RENAME TO invoicetron", database="postgres")
    assert done.returncode == 0, done.stderr
    assert lets_in(database, NEW)


def test_a_refusal_is_told_with_postgresqls_own_words_and_fails_the_start(database: PostgresServer) -> None:
    done = start_hook(database, NEW, user="nobody-of-this-name")
    assert done.returncode != 0
    assert 'role "nobody-of-this-name" does not exist' in done.stderr
    assert "the password was NOT set" in done.stderr
    assert NEW not in done.stderr


def test_a_shutdown_does_not_wait_for_the_app_and_loses_nothing(database: PostgresServer) -> None:
    app = connect(database, OLD)
    app.execute("CREATE TABLE IF NOT EXISTS kept (number integer)")
    app.execute("TRUNCATE kept")
    app.execute("INSERT INTO kept VALUES (1)")
    app.execute("BEGIN")
    started = time.monotonic()
    database.run(SHUTDOWN, env=database.environment(local=True, PGDATA=str(database.data)), capture_output=True)
    assert time.monotonic() - started < 10
    database.start()
    assert "was interrupted" not in database.log.read_text().rsplit("starting PostgreSQL", 1)[1]
    assert database.sql("SELECT number FROM kept") == "1"
