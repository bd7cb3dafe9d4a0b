"""postgres_exporter's role, and the real exporter with it, against a real PostgreSQL 18."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx
import psycopg
import pytest

from components.alerts import Watched, alerts
from components.dashboard import dashboard_json
from components.postgres_exporter import create_role
from rehearsal import optional_tools
from rehearsal.pods.postgres import DATABASE, USER, PostgresServer
from rehearsal.processes import free_port
from tests.database.invoices import fill
from tests.database.start_hook import connect, start_hook
from tests.database.test_role_password import TALKATIVE
from tests.stacks import PROD
from tests.unit.program import Program, run
from tests.unit.test_postgres_exporter import METRICS, VALUES

ROLE: Final = PROD.monitor_role
OLD: Final = "the-old-password"
NEW: Final = "the-new-password"


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    """A server with invoices that logs every statement."""
    with PostgresServer(settings=TALKATIVE) as server:
        fill(server, count=5)
        yield server


def create(server: PostgresServer, password: str = OLD, role: str = ROLE) -> subprocess.CompletedProcess[str]:
    """Runs what the pod runs before the exporter."""
    environment = server.environment(MONITOR_USER=role, MONITOR_PASSWORD=password)
    return subprocess.run(
        create_role(),
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,  # a container has no terminal, which psql would prefer to read from
        **server.account,
    )


def of_role(server: PostgresServer, attributes: str) -> str:
    """What the server has recorded about the role."""
    return server.sql(f"SELECT {attributes} FROM pg_authid WHERE rolname = '{ROLE}'")  # noqa: S608 - our own names


@contextmanager
def session(server: PostgresServer, password: str = OLD) -> Iterator[psycopg.Connection]:
    where = {"host": "127.0.0.1", "port": server.port, "dbname": DATABASE}
    with psycopg.connect(**where, user=ROLE, password=password, autocommit=True) as connection:  # type: ignore[arg-type]
        yield connection


def test_the_role_sees_statistics_of_everybody_and_no_invoice(database: PostgresServer) -> None:
    done = create(database)
    assert done.returncode == 0, done.stderr
    with session(database) as monitor:
        seen = monitor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'invoicetron' OR state IS NULL")
        assert seen.fetchone() != (0,)
        assert monitor.execute("SELECT pg_has_role('pg_monitor', 'MEMBER')").fetchone() == (True,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            monitor.execute("SELECT * FROM invoices")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            monitor.execute("CREATE TABLE mine (id integer)")


def test_it_can_be_run_again_and_rotates_the_password(database: PostgresServer) -> None:
    for password in (OLD, OLD, NEW):
        done = create(database, password)
        assert done.returncode == 0, done.stderr
    with session(database, NEW):
        pass
    with pytest.raises(psycopg.OperationalError), session(database, OLD):
        pass


def test_what_somebody_has_given_the_role_is_taken_away_or_refused(database: PostgresServer) -> None:
    assert create(database).returncode == 0
    database.sql(f"ALTER ROLE {ROLE} SUPERUSER CREATEDB CREATEROLE REPLICATION BYPASSRLS CONNECTION LIMIT -1")
    assert create(database).returncode == 0
    attributes = "rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolconnlimit"
    assert of_role(database, attributes) == "f|f|f|f|f|5"

    database.sql(f"GRANT pg_read_all_data TO {ROLE}")
    try:
        done = create(database)
        assert done.returncode != 0
        assert "member of pg_read_all_data" in done.stderr
    finally:
        database.sql(f"REVOKE pg_read_all_data FROM {ROLE}")


def test_the_owner_s_own_role_is_never_touched(database: PostgresServer) -> None:
    done = create(database, role=USER)
    assert done.returncode != 0
    assert "must not be the owner's" in done.stderr
    assert database.sql("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == "t"


def test_neither_the_password_nor_its_hash_is_in_the_log_of_a_server_that_logs_everything(
    database: PostgresServer,
) -> None:
    done = create(database, NEW)
    assert done.returncode == 0, done.stderr
    log = database.log.read_text()
    digest = of_role(database, "rolpassword")
    assert NEW not in log + done.stdout + done.stderr
    assert digest not in log


def asked_for(*, statements: bool = False) -> set[str]:
    """Every PostgreSQL metric that an alert or a panel uses."""
    watched = Watched(names=PROD, claims=["data"], database_metrics=True, statements=statements)
    return set(re.findall(r"\bpg_\w+", json.dumps(alerts(watched)) + dashboard_json(watched)))


@pytest.fixture
def exporter(database: PostgresServer) -> Iterator[str]:
    """URL of the metrics of a real exporter, with the role's password."""
    with exporting(database, run("prod", {"monitoring": METRICS}, values=VALUES)) as url:
        yield url


@contextmanager
def exporting(server: PostgresServer, program: Program) -> Iterator[str]:
    """The exporter as this program's pod runs it, but for this server."""
    assert create(server, OLD).returncode == 0
    (pod,) = program.one("Deployment", PROD.exporter).inputs["spec"]["template"]["spec"]["containers"]
    (uri,) = [each["value"] for each in pod["env"] if each["name"] == "DATA_SOURCE_URI"]
    port = free_port()
    process = subprocess.Popen(
        [optional_tools.postgres_exporter(), f"--web.listen-address=127.0.0.1:{port}", *pod.get("args", [])],
        env={
            "DATA_SOURCE_URI": uri.replace(f"{PROD.database}:5432", f"127.0.0.1:{server.port}"),
            "DATA_SOURCE_USER": ROLE,
            "DATA_SOURCE_PASS": OLD,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def metrics(url: str) -> str:
    deadline = time.monotonic() + 20
    while True:
        try:
            return httpx.get(f"{url}/metrics", timeout=10).text
        except httpx.ConnectError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_the_exporter_exports_what_alerts_and_panels_are_about(exporter: str) -> None:
    found = metrics(exporter)
    assert re.search(r"^pg_up 1$", found, re.MULTILINE)
    assert f'pg_database_size_bytes{{datname="{DATABASE}"}}' in found
    wanted = asked_for()
    assert len(wanted) > 5
    assert not {name for name in wanted if not re.search(rf"^{name}[{{ ]", found, re.MULTILINE)}
    assert httpx.get(exporter).status_code == 200, "what the readiness probe asks for"


@pytest.fixture(scope="module")
def counted() -> Program:
    metrics = {"databaseMetrics": {**METRICS["databaseMetrics"], "statements": True}}
    return run("prod", {"monitoring": metrics}, values=VALUES)


def preloaded(program: Program) -> dict[str, str]:
    """The additional parameters with which that program starts its server, by name."""
    (container,) = program.one("StatefulSet").inputs["spec"]["template"]["spec"]["containers"]
    words = (word.removeprefix("--").partition("=") for word in container["args"])
    return {name: value for name, _, value in words if "pg_stat_statements" in name + value}


def test_statements_are_counted_without_what_they_say_and_no_dump_knows_of_it(counted: Program) -> None:
    with PostgresServer(settings=preloaded(counted)) as server:
        # The library has no view yet; nothing else is missing.
        assert start_hook(server, server.password).returncode == 0
        with exporting(server, counted) as url:
            found = metrics(url)
        assert re.search(r"^pg_up 1$", found, re.MULTILINE)
        assert "pg_stat_statements_calls_total" not in found

        for _ in range(2):
            done = start_hook(server, server.password, statements=True)
            assert (done.returncode, done.stderr) == (0, "")
        fill(server, count=5)
        with connect(server, server.password) as session:
            session.execute("SELECT count(*) FROM invoices WHERE number = 'Ada Lovelace'")
            session.execute("SET application_name = 'Ada Lovelace'")
        with exporting(server, counted) as url:
            found = metrics(url)
        wanted = asked_for(statements=True)
        assert wanted > asked_for()
        assert not {name for name in wanted if not re.search(rf"^{name}[{{ ]", found, re.MULTILINE)}
        asked = "SELECT queryid FROM pg_stat_statements WHERE query LIKE '%invoices WHERE number = $1%'"
        labels = f'datname="{DATABASE}",queryid="{server.sql(asked, database="postgres")}",user="{USER}"'
        assert f"pg_stat_statements_calls_total{{{labels}}} 1\n" in found
        kept = server.sql("SELECT string_agg(query, ' ') FROM pg_stat_statements", database="postgres")
        assert "Ada" not in kept + found
        assert "PASSWORD" not in kept
        assert server.sql("SELECT count(*) FROM pg_extension WHERE extname LIKE 'pg_stat%'") == "0"


def test_an_exporter_that_may_not_log_in_says_that_it_sees_nothing(database: PostgresServer, exporter: str) -> None:
    assert re.search(r"^pg_up 1$", metrics(exporter), re.MULTILINE)
    assert create(database, NEW).returncode == 0
    database.restart()
    assert re.search(r"^pg_up 0$", metrics(exporter), re.MULTILINE)
