"""Moves a database from one server to the other and back, killed at every step, on two real servers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import content, databases, fill
from tests.database.pod import Pod
from tests.database.start_hook import connect, lets_in, start_hook

ADMINISTRATOR: Final = "invoicetron_admin"
ATTRIBUTES: Final = "SELECT rolsuper, rolbypassrls, rolcreaterole FROM pg_roles WHERE rolname = 'invoicetron'"
SUPERUSERS: Final = """
CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER noted ON sql_drop EXECUTE FUNCTION noted();
CREATE EVENT TRIGGER of_somebody ON sql_drop EXECUTE FUNCTION noted();
ALTER EVENT TRIGGER of_somebody OWNER TO somebody;
CREATE FOREIGN DATA WRAPPER wrapper; CREATE SERVER far FOREIGN DATA WRAPPER wrapper; CREATE EXTENSION postgres_fdw;
CREATE PUBLICATION everything FOR ALL TABLES; CREATE PUBLICATION reports FOR TABLES IN SCHEMA reports;
CREATE PUBLICATION part FOR TABLE invoices;
"""
FURTHER_ATTEMPT: Final = """
CREATE FUNCTION half(i int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT i / 2';
CREATE FUNCTION quarter(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN half(half(i)); END';
CREATE TABLE computed (a int, b int GENERATED ALWAYS AS (quarter(a)) STORED); INSERT INTO computed VALUES (8);
"""
OWNERS: Final = """
(SELECT evtowner::regrole FROM pg_event_trigger ORDER BY evtname DESC)
UNION ALL SELECT proowner::regrole FROM pg_proc WHERE proname = 'noted'
UNION ALL SELECT fdwowner::regrole FROM pg_foreign_data_wrapper WHERE fdwname = 'wrapper'
UNION ALL SELECT pubowner::regrole FROM pg_publication WHERE pubname <> 'part'
UNION ALL SELECT pubowner::regrole FROM pg_publication WHERE pubname = 'part'
UNION ALL SELECT srvowner::regrole FROM pg_foreign_server
UNION ALL SELECT relowner::regrole FROM pg_class WHERE relname = 'invoices'
UNION ALL SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'reports'
"""
KILL: Final = "\\! kill -KILL 0\n"
STEPS: Final = [
    ("rename.sql", "before"),
    ("rename.sql", "after"),
    ("snapshot.sql", "before"),
    ("snapshot.sql", "after"),
    ("retention.sh", "before"),
    ("take-passwords.sql", "after"),
    ("create.sql", "before"),
    ("create.sql", "after"),
    ("counting.sql", "after"),
    ("counted.sql", "before"),
    ("swap.sql", "before"),
    ("swap.sql", "after"),
]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One engine's server, as its pods see it."""

    server: PostgresServer
    user: str
    password: str

    def environment(self, prefix: str = "") -> dict[str, str]:
        return {
            f"{prefix}PGHOST": "127.0.0.1",
            f"{prefix}PGPORT": str(self.server.port),
            f"{prefix}PGUSER": self.user,
            f"{prefix}PGPASSWORD": self.password,
            f"{prefix}PGCONNECT_TIMEOUT": "10",
        }


@pytest.fixture(scope="module")
def stateful_set() -> Iterator[Side]:
    """As the image and its start hook make it; its role is a superuser for the duration of the move."""
    with PostgresServer() as server:
        assert start_hook(server, server.password).returncode == 0
        server.sql("ALTER ROLE invoicetron SUPERUSER", database="postgres")
        yield Side(server=server, user="invoicetron", password=server.password)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Side]:
    """As the operator makes it: byte order from the server's builtin locale, an owner, and an administrator."""
    with PostgresServer(user="postgres") as server:
        server.sql(
            f"CREATE ROLE {ADMINISTRATOR} SUPERUSER LOGIN PASSWORD 'of-the-administrator';"
            f"CREATE ROLE invoicetron LOGIN PASSWORD '{server.password}'",
            database="postgres",
        )
        empty(server)
        yield Side(server=server, user=ADMINISTRATOR, password="of-the-administrator")


def empty(server: PostgresServer, locale: str = "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'") -> None:
    """Makes the Cluster's database again, as the operator does by default."""
    for name in ("invoicetron_moved", "invoicetron"):
        server.sql(f"DROP DATABASE IF EXISTS {name}", database="postgres")
    server.sql(f"CREATE DATABASE invoicetron TEMPLATE template0 OWNER invoicetron {locale}", database="postgres")


@pytest.fixture
def pod(stateful_set: Side) -> Iterator[Pod]:
    directory = stateful_set.server.directory / "pod"
    directory.mkdir()
    yield Pod(stateful_set.server, directory)
    shutil.rmtree(directory)


def between(source: Side, target: Side, **more: str) -> dict[str, str]:
    ends = {**target.environment(), **source.environment("SOURCE_"), "OWNER": "invoicetron"}
    return {**ends, "PGDATABASE": "invoicetron", "MOVE": "fill", **more}


def killed(pod: Pod, file: str, when: str, environment: dict[str, str]) -> None:
    script = pod.scripts / file
    whole = script.read_text()
    kill = KILL if file.endswith(".sql") else "kill -KILL 0\n"
    if file == "rename.sql":  # the transaction is in the middle of the script
        kill = KILL
    script.write_text(kill + whole if when == "before" else whole + kill)
    try:
        assert pod.run("move.sh", **environment).returncode == -9
    finally:
        script.write_text(whole)


def held(side: Side) -> str:
    """The one name under which the server holds the database."""
    (name,) = set(databases(side.server)) & {"invoicetron", "invoicetron_moved"}
    return name


def next_move(one: Side, other: Side) -> tuple[Side, Side]:
    """From the side that has the open database, which is filled unless an earlier test has done that, to the other."""
    source, target = (one, other) if held(one) == "invoicetron" else (other, one)
    if not source.server.sql("SELECT to_regclass('invoices')"):
        fill(source.server)
    return source, target


def test_there_and_back_killed_at_every_step(pod: Pod, stateful_set: Side, cluster: Side) -> None:
    fill(stateful_set.server)
    stateful_set.server.sql("CREATE ROLE clerk LOGIN PASSWORD 'of-the-clerk'; GRANT SELECT ON invoices TO clerk")
    before = content(stateful_set.server)
    for source, target in ((stateful_set, cluster), (cluster, stateful_set)):
        environment = between(source, target)
        for file, when in STEPS:
            if (file, when) == ("rename.sql", "before"):
                assert held(source) == "invoicetron"
            killed(pod, file, when, environment)
            # Whatever was killed, the old server holds all of the data, under one name.
            assert content(source.server, held(source)) == before
        assert held(source) == "invoicetron_moved"
        done = pod.run("move.sh", **environment)
        assert done.returncode == 0, done.stdout
        assert content(target.server, "invoicetron") == before
        # The app's role has what its own server gave it; the StatefulSet's is lent SUPERUSER here.
        assert target.server.sql(ATTRIBUTES) == ("f|f|f" if target is cluster else "t|t|t")
        assert "superuser" not in done.stdout, "nothing of it was put back"
        assert held(target) == "invoicetron"
        assert held(source) == "invoicetron_moved"
        assert content(source.server, "invoicetron_moved") == before
        assert not lets_in(source.server, source.server.password), "the app finds no database at the old server"
        with connect(target.server, target.server.password) as app:
            owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname IN ('public', 'reports')"
            assert app.execute(owners).fetchall() == [("invoicetron",)]
            app.execute("INSERT INTO invoices (number) VALUES (md5(random()::text))")
        ours = "SELECT true FROM pg_authid WHERE rolname = 'invoicetron_admin' AND rolpassword IS NOT NULL"
        assert bool(target.server.sql(ours)) == (target is cluster)  # nobody can log in as the other engine's
        before = content(target.server, "invoicetron")
        clerk = target.server.environment(PGUSER="clerk", PGPASSWORD="of-the-clerk")
        asked: list[str | Path] = [target.server.bin / "psql", "-XAt", "-c", "SELECT count(*) > 1 FROM invoices"]
        assert target.server.run(asked, env=clerk, capture_output=True).stdout.strip() == "t"


def test_what_was_closed_is_given_back_with_everything_written_before(
    pod: Pod, stateful_set: Side, cluster: Side
) -> None:
    source, target = next_move(stateful_set, cluster)
    before = content(source.server)
    environment = between(source, target)
    killed(pod, "create.sql", "before", environment)
    assert held(source) == "invoicetron_moved"
    for _ in range(2):  # the second time, nothing is closed
        done = pod.run("move.sh", **{**environment, "MOVE": "give-back"})
        assert done.returncode == 0, done.stdout
        assert content(source.server) == before
        assert lets_in(source.server, source.server.password)


def test_a_name_that_somebody_took_meanwhile_is_told_and_nothing_dropped(
    pod: Pod, stateful_set: Side, cluster: Side
) -> None:
    source, target = next_move(stateful_set, cluster)
    before = content(source.server)
    environment = between(source, target)
    killed(pod, "create.sql", "before", environment)
    source.server.sql("CREATE DATABASE invoicetron", database="postgres")
    for way in ("fill", "give-back"):
        done = pod.run("move.sh", **{**environment, "MOVE": way})
        assert done.returncode == 1
        assert "the data is in invoicetron_moved" in done.stdout.splitlines()[-1]
    assert content(source.server, "invoicetron_moved") == before
    source.server.sql("DROP DATABASE invoicetron", database="postgres")
    assert pod.run("move.sh", **{**environment, "MOVE": "give-back"}).returncode == 0


def test_an_empty_database_is_not_moved_and_stays_closed_until_it_is_given_back(
    pod: Pod, stateful_set: Side, cluster: Side
) -> None:
    source, target = next_move(stateful_set, cluster)
    source.server.sql("ALTER DATABASE invoicetron RENAME TO kept", database="postgres")
    source.server.sql("CREATE DATABASE invoicetron OWNER invoicetron", database="postgres")
    environment = between(source, target)
    done = pod.run("move.sh", **environment)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].endswith("the database has no tables yet")
    assert pod.run("move.sh", **{**environment, "MOVE": "give-back"}).returncode == 0
    source.server.sql("DROP DATABASE invoicetron", database="postgres")
    source.server.sql("ALTER DATABASE kept RENAME TO invoicetron", database="postgres")


@pytest.mark.parametrize(
    ("locale", "restored", "said"),
    [
        ("LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'", "b|C.UTF-8|C.UTF-8", True),
        # Sorts text by itself, and only carries the other two.
        ("LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C' LC_COLLATE 'C' LC_CTYPE 'C'", "b|C|C.UTF-8", False),
    ],
)
def test_a_backup_of_a_server_with_other_locales_is_restored_with_those_of_this_one(
    pod: Pod, cluster: Side, locale: str, restored: str, said: bool
) -> None:
    """The alpine image calls its byte order en_US.utf8; the operator's minimal image has no such locale."""
    server = cluster.server
    empty(server, locale)
    fill(server)
    environment = {**cluster.environment(), "PGDATABASE": "invoicetron", "OWNER": "invoicetron"}
    done = pod.run("backup.sh", **environment)
    assert done.returncode == 0, done.stdout
    (name,) = pod.names()
    manifest = pod.backups / name / "manifest.json"
    written = json.loads(manifest.read_text())
    text = manifest.read_text()
    assert written["globals"]["database"]["collate"] == "C"
    manifest.write_text(
        text.replace('"ctype": "C"', '"ctype": "en_XX.utf8"').replace('"collate": "C"', '"collate": "en_XX.utf8"')
    )
    empty(server)
    done = pod.run("restore.sh", **environment, RESTORE_FROM=name)
    assert done.returncode == 0, done.stdout
    assert ("this server has no locale en_XX.utf8" in done.stdout) == said
    asked = "SELECT datlocprovider, datlocale, datcollate FROM pg_database WHERE datname = 'invoicetron'"
    assert server.sql(asked) == restored


def test_a_backup_of_the_time_when_superuser_was_lent_does_not_make_the_clusters_app_a_superuser(
    pod: Pod, cluster: Side
) -> None:
    empty(cluster.server)
    fill(cluster.server)
    environment = {**cluster.environment(), "PGDATABASE": "invoicetron"}
    cluster.server.sql("ALTER ROLE invoicetron SUPERUSER BYPASSRLS CREATEROLE")
    assert pod.run("backup.sh", **environment).returncode == 0
    cluster.server.sql("ALTER ROLE invoicetron NOSUPERUSER NOBYPASSRLS NOCREATEROLE")
    done = pod.run("restore.sh", **environment, OWNER="invoicetron", RESTORE_FROM="latest")
    assert done.returncode == 0, done.stdout
    assert "put back as the backup has it" not in done.stdout
    assert cluster.server.sql(ATTRIBUTES) == "f|f|f"
    done = pod.run("drill.sh", PGUSER=cluster.user, PGDATABASE="invoicetron", DRILL=str(pod.drill))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("more", ["", FURTHER_ATTEMPT], ids=["at once", "second attempt"])
def test_what_a_superuser_has_made_comes_to_a_server_where_its_role_is_none(pod: Pod, cluster: Side, more: str) -> None:
    """The app's role was one in a StatefulSet, and others are one again only when the databases change names."""
    server = cluster.server
    empty(server)
    fill(server)
    environment = {**cluster.environment(), "PGDATABASE": "invoicetron"}
    server.sql("ALTER ROLE invoicetron SUPERUSER; CREATE ROLE somebody SUPERUSER")
    try:
        server.sql(SUPERUSERS + more, user="invoicetron")
        before = content(server)
        assert pod.run("backup.sh", **environment).returncode == 0
        server.sql("DROP PUBLICATION everything, reports; DROP EVENT TRIGGER of_somebody")
        server.sql("ALTER ROLE invoicetron NOSUPERUSER; ALTER ROLE somebody NOSUPERUSER")
        done = pod.run("restore.sh", **environment, OWNER="invoicetron", RESTORE_FROM="latest")
        assert done.returncode == 0, done.stdout
        assert content(server) == before
        assert server.sql(ATTRIBUTES) == "f|f|f"
        assert server.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'somebody'") == "t"
        assert server.sql(OWNERS).split() == ["somebody", *(["postgres"] * 5), *(["invoicetron"] * 4)]
    finally:
        server.sql("DROP OWNED BY somebody; DROP ROLE somebody")
