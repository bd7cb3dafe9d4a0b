"""The app's role owns its database and is not a superuser: in a new database from the start, in a live one after the
hand-over. Backup, restore, drill, rotation and the exporter continue to work, on a real PostgreSQL 18."""

from __future__ import annotations

import fcntl
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psycopg
import pytest

from components.database import without_comments
from ops.superuser import PSQL
from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import CONTENT, content, fill
from tests.database.pod import Pod
from tests.database.start_hook import connect, lets_in, start_hook
from tests.database.test_monitor_role import create
from tests.stacks import PROD

OLD: Final = "the-old-password"
NEW: Final = "the-new-password"
MONITOR: Final = PROD.monitor_role
EVERY_KIND: Final = (Path(__file__).parent / "every_kind.sql").read_text(encoding="utf-8")
STAYS: Final = {"noted", "everything", "w"}
"""Objects that only a superuser may own."""
OWNED: Final = [
    ("pg_class", "relowner", "relname"),
    ("pg_collation", "collowner", "collname"),
    ("pg_database", "datdba", "datname"),
    ("pg_event_trigger", "evtowner", "evtname"),
    ("pg_foreign_data_wrapper", "fdwowner", "fdwname"),
    ("pg_foreign_server", "srvowner", "srvname"),
    ("pg_largeobject_metadata", "lomowner", "oid"),
    ("pg_namespace", "nspowner", "nspname"),
    ("pg_opclass", "opcowner", "opcname"),
    ("pg_operator", "oprowner", "oprname"),
    ("pg_opfamily", "opfowner", "opfname"),
    ("pg_proc", "proowner", "proname"),
    ("pg_publication", "pubowner", "pubname"),
    ("pg_statistic_ext", "stxowner", "stxname"),
    ("pg_ts_config", "cfgowner", "cfgname"),
    ("pg_ts_dict", "dictowner", "dictname"),
    ("pg_type", "typowner", "typname"),
]


def left(server: PostgresServer) -> set[str]:
    """Names of the objects that the first role owns, other than those that initdb and extensions have made."""
    found: set[str] = set()
    for catalog, owner, name in OWNED:
        part = f"classid = '{catalog}'::regclass AND objid = {catalog}.oid AND deptype IN ('e', 'i')"
        least = 0 if catalog == "pg_largeobject_metadata" else 16384  # whoever creates one may choose its id
        other = f"{catalog}.oid >= {least} AND NOT EXISTS (SELECT FROM pg_depend WHERE {part})"
        found |= set(server.sql(f"SELECT {name} FROM {catalog} WHERE {owner} = 10 AND {other}").splitlines())  # noqa: S608
    return {one for one in found if not one.startswith(("pg_toast", "pg_temp"))}


def hand_over(server: PostgresServer, statements: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs what `ops revoke-superuser` runs in the database's pod, or other statements in the same way."""
    env = server.environment(local=True, POSTGRES_USER="invoicetron", POSTGRES_DB="invoicetron")
    done = subprocess.run(
        ["sh", "-c", PSQL, "sh", MONITOR],  # noqa: S607 - by PATH, as in the pod
        input=statements or without_comments("hand-over.sql", "--"),
        env=env,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        **server.account,
    )
    with suppress(subprocess.CalledProcessError):  # a server that a test has killed
        server.find_superuser()
    return done


def attributes(server: PostgresServer) -> str:
    """The attributes of the app's role, and its database's owner."""
    return server.sql(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, pg_get_userbyid(datdba)"
        " FROM pg_roles, pg_database WHERE rolname = 'invoicetron' AND datname = 'invoicetron'"
    )


SUPERUSER: Final = "t|t|t|t|t|invoicetron"
NO_SUPERUSER: Final = "f|t|t|f|f|invoicetron"


@pytest.fixture
def live() -> Iterator[PostgresServer]:
    """A server as the previous release has left it, with an object of every kind."""
    with PostgresServer(password=OLD, settings={"wal_level": "logical"}) as server:
        fill(server)
        server.sql(EVERY_KIND)
        yield server


@pytest.fixture
def new() -> Iterator[Pod]:
    """A pod beside a server whose start hook has run on an empty database."""
    with PostgresServer(password=OLD) as server:
        done = start_hook(server, OLD)
        assert done.returncode == 0, done.stderr
        directory = server.directory / "pod"
        directory.mkdir()
        yield Pod(server, directory)


def refused(server: PostgresServer, statement: str) -> str:
    with connect(server, OLD) as app, pytest.raises(psycopg.errors.InsufficientPrivilege) as error:
        app.execute(statement)
    return str(error.value)


def test_a_new_database_belongs_to_the_apps_role_which_is_no_superuser(new: Pod) -> None:
    server = new.server
    assert attributes(server) == NO_SUPERUSER
    assert server.sql("SELECT rolname FROM pg_authid WHERE rolsuper AND rolpassword IS NULL") == "postgres"
    with connect(server, OLD) as app:
        app.execute("CREATE TABLE invoices (id integer); CREATE SCHEMA reports; CREATE EXTENSION pg_trgm")
    assert "permission denied" in refused(server, "COPY invoices TO PROGRAM 'cat'")
    assert "permission denied" in refused(server, "ALTER ROLE invoicetron SUPERUSER")
    assert "permission denied" in refused(server, "SET ROLE postgres")


def test_the_superuser_is_let_in_by_the_socket_alone(new: Pod) -> None:
    server = new.server
    server.sql("ALTER ROLE postgres PASSWORD 'given-by-somebody'")
    for database in ("invoicetron", "postgres"):
        where = {"host": "127.0.0.1", "port": server.port, "dbname": database}
        with pytest.raises(psycopg.OperationalError, match="conf rejects connection"):
            psycopg.connect(**where, user="postgres", password="given-by-somebody")  # type: ignore[arg-type]
    server.restart()
    assert server.sql("SELECT 1") == "1"
    assert lets_in(server, OLD)


def test_the_start_hook_leaves_a_live_database_to_whoever_runs_it(live: PostgresServer) -> None:
    assert start_hook(live, NEW).returncode == 0
    assert attributes(live) == SUPERUSER
    assert lets_in(live, NEW)


def test_a_live_database_passes_over_whole_and_lets_the_app_in_as_before(live: PostgresServer) -> None:
    assert create(live).returncode == 0
    before, sessions = content(live), connect(live, OLD)
    done = hand_over(live)
    assert done.returncode == 0, done.stderr
    assert attributes(live) == NO_SUPERUSER
    assert content(live) == before
    assert left(live) == STAYS
    with pytest.raises(psycopg.OperationalError):
        sessions.execute("SELECT 1")
    with connect(live, OLD) as app:
        assert app.execute("SELECT count(*), current_setting('work_mem') FROM invoices").fetchone() == (500, "7MB")
        app.execute("ALTER TABLE invoices ADD paid date; DROP TYPE pair; ALTER TYPE mood ADD VALUE 'bad'")
        assert app.execute("SELECT pg_has_role('clerks', 'member'), lo_get(4711)").fetchone() == (True, b"scan")
    assert (
        live.sql("SELECT pg_has_role('guard', 'invoicetron', 'member'), pg_has_role('guard', 'postgres', 'member')")
        == "t|f"
    )
    assert live.sql("SELECT shobj_description('invoicetron'::regrole, 'pg_authid')") == "the app"
    assert live.sql("SELECT count(*) FROM pg_roles WHERE rolname ~ 'hand_over'") == "0"
    assert hand_over(live).returncode == 0, "it can be run again"
    assert create(live, NEW).returncode == 0, "the exporter's role can still be set up"
    assert start_hook(live, NEW).returncode == 0
    assert lets_in(live, NEW)
    assert not lets_in(live, OLD)


def test_what_the_role_logs_in_with_and_until_when_passes_over(live: PostgresServer) -> None:
    limits = "CONNECTION LIMIT 7 VALID UNTIL '2099-01-01'"
    live.sql(f"SET password_encryption = 'md5'; ALTER ROLE invoicetron PASSWORD 'x' {limits}")
    asked = "SELECT rolpassword, rolconnlimit, rolvaliduntil FROM pg_authid WHERE rolname = 'invoicetron'"
    before = live.sql(asked)
    assert before.startswith("md5")
    assert hand_over(live).returncode == 0
    assert live.sql(asked) == before
    assert live.sql(asked.replace("'invoicetron'", "'postgres'")) == "|-1|"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE ROLE other; ALTER TABLE products OWNER TO other", "REASSIGN OWNED BY other TO invoicetron"),
        ("CREATE POLICY ours ON invoices TO invoicetron USING (true)", "policy ours of public.invoices names the role"),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO clerks", "default privileges name the role"),
        ("ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC, invoicetron", "default privileges"),
        ("CREATE USER MAPPING FOR invoicetron SERVER far OPTIONS (password 'far-away')", "user mappings"),
        ("CREATE SUBSCRIPTION s CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)", "subscription s"),
        (
            "CREATE ROLE middle; GRANT clerks TO middle WITH ADMIN TRUE; SET ROLE middle; GRANT clerks TO invoicetron",
            "middle",
        ),
        ("CREATE ROLE postgres; CREATE TABLE theirs (); ALTER TABLE theirs OWNER TO postgres", "postgres"),
    ],
    ids=[
        "owner",
        "policy",
        "default privileges",
        "no default privileges",
        "user mapping",
        "subscription",
        "membership",
        "name",
    ],
)
def test_what_would_be_lost_is_refused_and_everything_stays_as_it_was(
    live: PostgresServer, statement: str, words: str
) -> None:
    live.sql(statement)
    done = hand_over(live)
    assert done.returncode != 0
    assert words in done.stderr
    assert "far-away" not in done.stderr
    assert "SCRAM" not in done.stderr
    assert attributes(live) == SUPERUSER
    assert lets_in(live, OLD)


def test_killed_at_any_moment_the_app_is_let_in_and_the_next_run_ends_it(live: PostgresServer) -> None:
    live.sql("CHECKPOINT")  # otherwise a crash would make the sequences skip numbers
    before, delay, kills = live.sql(CONTENT), 0.0, 0
    while attributes(live) != NO_SUPERUSER:
        running = threading.Thread(target=hand_over, args=(live,))
        running.start()
        time.sleep(delay)
        live.kill()
        running.join()
        live.start()
        live.find_superuser()
        kills, delay = kills + 1, delay + 0.02
        assert attributes(live) in {SUPERUSER, NO_SUPERUSER}
        assert start_hook(live, OLD).returncode == 0, "the database's pod starts"
        with connect(live, OLD) as app:
            app.execute("UPDATE invoices SET note = note; CREATE TABLE of_the_app (); DROP TABLE of_the_app")
    assert kills > 3, "it was never killed on its way"
    assert hand_over(live).returncode == 0
    assert attributes(live) == NO_SUPERUSER
    assert live.sql(CONTENT) == before


def lend(server: PostgresServer) -> None:
    server.sql("ALTER ROLE invoicetron SUPERUSER")


def test_backup_drill_and_restore_go_on_without_a_superuser(new: Pod) -> None:
    server = new.server
    fill(server)
    rules = "ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY few ON invoices USING (id < 3)"
    server.sql(f"ALTER TABLE invoices {rules}", user="invoicetron")
    server.sql("CREATE EXTENSION hstore; SELECT lo_from_bytea(4711, 'scan')", user="invoicetron")
    server.sql("CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
    server.sql("CREATE EVENT TRIGGER e ON sql_drop EXECUTE FUNCTION e(); CREATE EXTENSION tablefunc")
    assert create(server).returncode == 0
    before = content(server)
    done = new.run("backup.sh", RESULT=str(new.upload / "result"))
    assert done.returncode == 0, done.stdout
    said = json.loads((new.upload / "result").read_text())
    (manifest,) = (json.loads(each.read_text()) for each in new.backups.glob("*/manifest.json"))
    assert not said["superuser"]
    assert (said["backup"], said["bytes"]) == (manifest["name"], manifest["dumpBytes"])
    assert said["rows"] == sum(manifest["inventory"]["rows"].values()) > 0
    done = new.run("drill.sh", DRILL=str(new.drill), PGHOST="nowhere", PGPORT="1")
    assert done.returncode == 0, done.stdout

    server.sql("DELETE FROM invoice_items")
    lend(server)
    done = new.run("restore.sh", RESTORE_FROM="latest", RESTORE_CLEAR_SESSIONS="true", RESTORE_LENT="true")
    assert done.returncode == 0, done.stdout
    assert server.sql("SELECT count(*) FROM session") == "0"
    server.sql("INSERT INTO session VALUES ('s1', 'rommel'), ('s2', 'rommel'); INSERT INTO \"rateLimit\" VALUES ('r1')")
    assert content(server) == before
    assert attributes(server) == NO_SUPERUSER

    lend(server)
    done = new.run("restore.sh", RESTORE_FROM="latest", RESTORE_INTO="lost", RESTORE_LENT="true")
    assert done.returncode == 0, done.stdout
    assert attributes(server) == NO_SUPERUSER
    done = new.run("discard.sh", DISCARD="lost")
    assert done.returncode == 0, done.stdout

    lend(server)
    with (new.backups / ".restore-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = new.run("restore.sh", RESTORE_FROM="latest", RESTORE_LENT="true")
    assert "another restore is running" in done.stdout
    assert attributes(server) != NO_SUPERUSER, "the other one still needs it"
    done = new.run("restore.sh", RESTORE_FROM="no-such", RESTORE_LENT="true")
    assert done.returncode != 0
    assert attributes(server) == NO_SUPERUSER, "one that fails gives it back, too"
    done = new.run("backup.sh")
    assert done.returncode == 0, done.stdout
    assert start_hook(server, NEW).returncode == 0
    assert lets_in(server, NEW)


def test_what_other_roles_own_is_in_the_backup_too(new: Pod) -> None:
    server = new.server
    fill(server)
    server.sql("""
        CREATE ROLE clerk; CREATE SCHEMA theirs; CREATE TABLE theirs.notes (id serial, note text);
        INSERT INTO theirs.notes (note) VALUES ('x'); CREATE TABLE rules (id int); INSERT INTO rules VALUES (1);
        ALTER TABLE rules ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
        SELECT lo_from_bytea(4711, 'scan'); ALTER TABLE theirs.notes OWNER TO clerk; ALTER TABLE rules OWNER TO clerk;
        ALTER LARGE OBJECT 4711 OWNER TO clerk; ALTER SCHEMA theirs OWNER TO clerk;
    """)
    before = content(server)
    assert new.run("backup.sh").returncode == 0, new.run("backup.sh").stdout
    done = new.run("drill.sh", DRILL=str(new.drill), PGHOST="nowhere", PGPORT="1")
    assert done.returncode == 0, done.stdout
    server.sql("TRUNCATE theirs.notes; SELECT lo_unlink(4711)")
    lend(server)
    done = new.run("restore.sh", RESTORE_FROM="latest", RESTORE_LENT="true")
    assert done.returncode == 0, done.stdout
    assert content(server) == before
    owner = "SELECT pg_get_userbyid(lomowner), convert_from(lo_get(oid), 'UTF8') FROM pg_largeobject_metadata"
    assert server.sql(owner) == "clerk|scan"
    done = new.run("backup.sh")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("again", [hand_over, lambda server: start_hook(server, OLD)])
def test_what_backups_set_is_granted_again_by_the_next_run_and_at_the_next_start(
    new: Pod, again: Callable[[PostgresServer], subprocess.CompletedProcess[str]]
) -> None:
    """As after a release whose backups set one more parameter."""
    fill(new.server)
    new.server.sql("REVOKE SET ON PARAMETER lc_messages, temp_file_limit FROM invoicetron", database="postgres")
    done = new.run("backup.sh")
    assert done.returncode != 0
    assert "permission denied to set parameter" in done.stdout
    done = again(new.server)
    assert done.returncode == 0, done.stderr
    done = new.run("backup.sh")
    assert done.returncode == 0, done.stdout


def test_a_backup_of_a_superusers_time_does_not_make_the_role_one_again(live: PostgresServer) -> None:
    directory = live.directory / "pod"
    directory.mkdir()
    pod = Pod(live, directory)
    assert pod.run("backup.sh").returncode == 0
    before = content(live)
    assert hand_over(live).returncode == 0
    live.sql("DELETE FROM invoice_items")
    lend(live)
    done = pod.run("restore.sh", RESTORE_FROM="latest", RESTORE_LENT="true")
    assert done.returncode == 0, done.stdout
    assert content(live) == before
    assert attributes(live) == NO_SUPERUSER
    done = pod.run("backup.sh")
    assert done.returncode == 0, done.stdout
    done = pod.run("drill.sh", DRILL=str(pod.drill), PGHOST="nowhere", PGPORT="1")
    assert done.returncode == 0, done.stdout
    assert start_hook(live, NEW).returncode == 0


def test_what_no_role_without_superuser_can_back_up_is_said(new: Pod) -> None:
    fill(new.server)
    new.server.sql("CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w")
    new.server.sql("CREATE USER MAPPING FOR postgres SERVER far OPTIONS (password 'far-away')")
    done = new.run("backup.sh")
    assert done.returncode != 0
    assert "cannot back up subscriptions, nor the options of other roles' user mappings" in done.stdout
    assert not new.names()


def test_the_exporters_role_is_made_without_a_superuser_and_refused_what_it_should_not_have(new: Pod) -> None:
    for password in (OLD, NEW):
        done = create(new.server, password)
        assert done.returncode == 0, done.stderr
    new.server.sql(f"ALTER ROLE {MONITOR} CREATEDB")
    done = create(new.server)
    assert done.returncode != 0
    assert "attributes that only a superuser can take away" in done.stderr
