"""`database.parameters` on a real PostgreSQL 18: it accepts what a stack file may say, and the defaults work."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from typing import Any, get_args

import psycopg
import pytest
from annotated_types import Ge, Gt, Le

from rehearsal.pods.postgres import PostgresServer
from settings.database import DatabaseSettings
from settings.parameters import Measure, ServerParameters
from tests.database.start_hook import connect


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as one:
        yield one


def metadata(name: str) -> list[Any]:
    """The annotations of a parameter's type, with and without `| None`."""
    field = ServerParameters.model_fields[name]
    return [*field.metadata, *(one for part in get_args(field.annotation) for one in getattr(part, "__metadata__", ()))]


def extremes(name: str) -> list[object]:
    """The smallest and the largest value that a stack file may have."""
    found: list[object] = []
    for one in (flat for each in metadata(name) for flat in getattr(each, "metadata", [each])):
        match one:
            case Measure(least=least, most=most, off=off):
                found += [least, most, *([] if off is None else [off])]
            case Ge(ge=bound) | Le(le=bound):
                found.append(bound)
            case Gt(gt=float() | int() as bound):
                found.append(bound + 0.001)
    return found or [True, False]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in ServerParameters.model_fields for value in extremes(name)]
)
def test_the_server_takes_whatever_a_stack_file_may_say(server: PostgresServer, name: str, value: object) -> None:
    given = ServerParameters.model_validate({name: value}).given(DatabaseSettings().resources.limits.memory.amount)
    command = [str(server.bin / "postgres"), "-D", str(server.data), f"--{name}={given[name]}", "-C", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, **server.account)
    assert done.returncode == 0, done.stderr


def test_the_server_runs_with_every_default(server: PostgresServer) -> None:
    given = DatabaseSettings().server_parameters
    names = ", ".join(f"'{name}'" for name in given)
    found = server.sql(f"SELECT name FROM pg_settings WHERE source = 'command line' AND name IN ({names})")  # noqa: S608
    assert set(found.splitlines()) == set(given)


def test_a_migration_that_waits_for_a_lock_gives_up_and_lets_the_others_on() -> None:
    with PostgresServer(settings={"lock_timeout": "500ms"}) as server:
        server.sql("CREATE TABLE invoices (id int)")
        with connect(server, server.password) as app, connect(server, server.password) as migration:
            app.execute("BEGIN")
            app.execute("SELECT * FROM invoices")
            started = time.monotonic()
            with pytest.raises(psycopg.errors.LockNotAvailable):
                migration.execute("ALTER TABLE invoices ADD total int")
            assert time.monotonic() - started < 10


def test_a_session_that_forgets_its_transaction_loses_it() -> None:
    with PostgresServer(settings={"idle_in_transaction_session_timeout": "200ms"}) as server:
        app = connect(server, server.password)
        app.execute("BEGIN")
        deadline = time.monotonic() + 30
        while server.sql("SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'") != "0":
            assert time.monotonic() < deadline
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            app.execute("SELECT 1")


def test_a_slow_statement_is_logged_and_nothing_of_what_it_was_given(server: PostgresServer) -> None:
    with connect(server, server.password) as app:
        app.execute("SELECT pg_sleep(1.2), %s::text", ["a-customers-address"])
    logged = server.log.read_text()
    assert "pg_sleep" in logged
    assert "a-customers-address" not in logged
