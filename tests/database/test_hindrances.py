"""What can hinder backup, restore and drill: other people's settings, and what the server or the volume lacks."""

from __future__ import annotations

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import content, databases, fill
from tests.database.pod import Pod

SETTINGS = (
    "transaction_timeout = '300ms'",
    "idle_session_timeout = '20ms'",
    "idle_in_transaction_session_timeout = '20ms'",
    "statement_timeout = '20ms'",
    "lock_timeout = '1ms'",
    "default_transaction_read_only = on",
    "default_transaction_isolation = 'serializable'",
    "role = 'pg_monitor'",
    "session_replication_role = 'replica'",
    "standard_conforming_strings = off",
    "client_min_messages = 'debug5'",
    "client_encoding = 'LATIN1'",
    "array_nulls = off",
    "temp_file_limit = '64kB'",
    "restrict_nonsystem_relation_kind = 'view, foreign-table'",
    "plpgsql.extra_errors = 'all'",
)


@pytest.mark.parametrize("whose", ["ROLE invoicetron", "DATABASE invoicetron", "ROLE ALL"])
def test_what_is_set_for_role_or_database_reaches_no_session_of_the_scripts(
    pod: Pod, server: PostgresServer, whose: str
) -> None:
    fill(server, count=200000)  # takes longer than the shortest timeout
    server.sql("""CREATE TABLE lists (list text[]); INSERT INTO lists VALUES (ARRAY[NULL, 'NULL', 'twelve €']);
        CREATE VIEW seen AS SELECT * FROM lists; CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM seen""")
    before = content(server)
    server.sql("GRANT pg_monitor TO invoicetron" + "".join(f"; ALTER {whose} SET {setting}" for setting in SETTINGS))
    try:
        for script in ("backup.sh", "restore.sh", "drill.sh"):
            done = pod.run(script, DRILL=str(pod.drill), RESTORE_FROM="".join(pod.names()[:1]))
            assert done.returncode == 0, done.stdout
    finally:
        # The test's own sessions, too, must neither end early nor run as another role.
        timeouts = "-c idle_session_timeout=0 -c statement_timeout=0 -c transaction_timeout=0 -c lock_timeout=0"
        options = f"-c role=none -c default_transaction_read_only=off {timeouts}"
        env = server.environment(local=True, PGOPTIONS=options)
        for statement in (f"ALTER {whose} RESET ALL", "REVOKE pg_monitor FROM invoicetron"):
            server.run([server.bin / "psql", "-Xq", "-d", "postgres", "-c", statement], env=env)
    assert content(server) == before


def test_a_function_that_names_another_without_its_schema_finds_it(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    function = "CREATE FUNCTION {}(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN {}; END';"
    server.sql(function.format("reports.half", "i / 2") + function.format("quarter", "half(half(i))"))
    server.sql("ALTER DATABASE invoicetron SET search_path = public, reports")
    server.sql("CREATE TABLE computed (a int, b int GENERATED ALWAYS AS (quarter(a)) STORED)")
    server.sql("INSERT INTO computed VALUES (8)")
    before = content(server)
    for script in ("backup.sh", "drill.sh", "restore.sh"):
        done = pod.run(script, DRILL=str(pod.drill), RESTORE_FROM="".join(pod.names()[:1]))
        assert done.returncode == 0, done.stdout
    assert "once more, with the database's own search path" in done.stdout
    assert content(server) == before


PARTITIONS = """
CREATE TABLE audit_log (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE audit_log_2025 PARTITION OF audit_log FOR VALUES FROM ('2025-01-01') TO ('2026-01-01')
    PARTITION BY LIST (id);
CREATE TABLE audit_log_2025_rest PARTITION OF audit_log_2025 DEFAULT;
INSERT INTO audit_log SELECT n, '2025-03-01' FROM generate_series(1, 10) AS n;
"""
INHERITANCE = """
CREATE TABLE audit_log (id int, at date);
CREATE TABLE newer () INHERITS (audit_log);
INSERT INTO audit_log SELECT n, '2025-03-01' FROM generate_series(1, 4) AS n;
INSERT INTO newer SELECT n, '2025-03-01' FROM generate_series(1, 6) AS n;
"""


@pytest.mark.parametrize("parent", [PARTITIONS, INHERITANCE], ids=["partitions of partitions", "inheritance"])
@pytest.mark.parametrize("rows", [10, 9])
def test_a_table_of_several_has_as_many_rows_as_people_count(
    pod: Pod, server: PostgresServer, parent: str, rows: int
) -> None:
    fill(server)
    server.sql(parent)
    assert pod.run("backup.sh").returncode == 0
    expected = f'{{"rows": {{"audit_log": {rows}, "invoices": 500}}, "partial": true}}'
    done = pod.run("restore.sh", RESTORE_FROM=pod.names()[0], RESTORE_EXPECT=expected)
    assert (done.returncode == 0) == (rows == 10), done.stdout
    assert ("table audit_log: 9 rows expected, 10 found" in done.stdout) == (rows == 9)


def test_a_partitioned_table_without_partitions_has_no_rows(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    server.sql("CREATE TABLE audit_log (at date) PARTITION BY RANGE (at)")
    assert pod.run("backup.sh").returncode == 0
    expected = '{"rows": {"audit_log": 0}, "partial": true}'
    done = pod.run("restore.sh", RESTORE_FROM=pod.names()[0], RESTORE_EXPECT=expected)
    assert done.returncode == 0, done.stdout


def test_a_database_of_thousands_of_tables_is_backed_up_drilled_and_restored(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    server.sql(
        "DO $$ BEGIN FOR i IN 1..3500 LOOP"
        " EXECUTE format('CREATE TABLE tenant_invoices_archive_of_month_%s (id int)', i);"
        " IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; END $$"
    )
    assert pod.run("backup.sh").returncode == 0
    done = pod.run("drill.sh", DRILL=str(pod.drill))
    assert done.returncode == 0, done.stdout[-400:]
    done = pod.run("restore.sh", RESTORE_FROM=pod.names()[0])
    assert done.returncode == 0, done.stdout[-400:]


def test_the_stack_of_the_server_does_not_limit_how_many_tables_there_are(pod: Pod, server: PostgresServer) -> None:
    """A tenth of the usual stack, and a tenth of the tables that were once too many for that."""
    fill(server)
    server.sql("DO $$ BEGIN FOR i IN 1..1200 LOOP EXECUTE format('CREATE TABLE t_%s (id int)', i); END LOOP; END $$")
    server.sql("ALTER DATABASE invoicetron SET max_stack_depth = '200kB'")
    assert pod.run("backup.sh").returncode == 0
    done = pod.run("restore.sh", RESTORE_FROM=pod.names()[0])
    assert done.returncode == 0, done.stdout[-400:]


@pytest.mark.parametrize("script", ["backup.sh", "restore.sh"])
@pytest.mark.parametrize(
    ("flock", "reason"),
    [
        (
            "echo 'flock: 9: No locks available' >&2; exit 71",
            "cannot be locked: flock: 9: No locks available; an NFS export",
        ),
        ("echo 'flock: No locks available' >&2; exit 1", "cannot be locked: flock: No locks available; an NFS export"),
        ("exit 71", "cannot be locked: flock ended with status 71; an NFS export"),
        ("exit 1", "another "),
    ],
)
def test_a_lock_that_cannot_be_had_is_not_called_somebody_elses(
    pod: Pod, server: PostgresServer, script: str, flock: str, reason: str
) -> None:
    fill(server)
    for name in ("sh", "flock"):  # a shell with the program built in does not search PATH
        (pod.directory / "bin" / name).unlink(missing_ok=True)
    (pod.directory / "bin" / "flock").write_text(f"#!/bin/sh\n{flock}\n")
    (pod.directory / "bin" / "flock").chmod(0o755)
    done = pod.run(script, RESTORE_FROM="invoicetron-000001-20260101T000000Z")
    assert done.returncode != 0
    assert reason in done.stdout.splitlines()[-1]
    assert ("another" in done.stdout) == (reason == "another ")


SUBSCRIPTION = """
CREATE SUBSCRIPTION sub CONNECTION 'host=192.0.2.1 password=far-away' PUBLICATION p
    WITH (connect = false, slot_name = sub)
"""


def test_subscriptions_come_back_and_do_not_stop_the_next_restore(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    server.sql(SUBSCRIPTION)
    assert pod.run("backup.sh").returncode == 0
    name = pod.names()[0]
    try:
        for _ in range(2):
            done = pod.run("restore.sh", RESTORE_FROM=name)
            assert done.returncode == 0, done.stdout
            assert "a subscription of invoicetron_replaced is dropped with it" in done.stdout
            assert "far-away" not in done.stdout
            assert server.sql("SELECT subname, subslotname, subenabled FROM pg_subscription") == "sub|sub|f"
            assert databases(server) == ["invoicetron", "postgres"]
        assert pod.run("drill.sh", DRILL=str(pod.drill)).returncode == 0
    finally:
        server.sql("ALTER SUBSCRIPTION sub SET (slot_name = NONE); DROP SUBSCRIPTION sub")


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("create.sql", "the database invoicetron_incoming cannot be made; the old data is untouched"),
        ("make-roles.sql", "the roles of the backup cannot be made; the old data is untouched"),
        ("counting.sql", "the dump could not be restored; the old data is untouched"),
        ("counted.sql", "the restored rows could not be counted; the old data is untouched"),
        ("compare.sql", "the restored rows cannot be compared; the old data is untouched"),
        ("clear-sessions.sql", "the sessions could not be cleared; the old data is untouched"),
        ("space.sql", "the server's free space cannot be read"),
        ("drop.sql", "the database server does not answer"),
        ("roles.sql", "the roles of the backup cannot be made; the old data is untouched"),
        ("differences.sql", "the databases cannot change places; the old data is untouched: division by zero"),
    ],
)
def test_every_step_of_a_restore_that_fails_says_so_last(
    pod: Pod, server: PostgresServer, backup: str, file: str, reason: str
) -> None:
    before = content(server)
    (pod.scripts / file).write_text("SELECT 1 / 0;")
    script = pod.scripts / "incoming.sh"
    script.write_text(script.read_text().replace("sleep 3", "sleep 0.01"))
    done = pod.run("restore.sh", RESTORE_FROM=backup, RESTORE_CLEAR_SESSIONS="true")
    assert done.returncode != 0
    assert f"FAILED: {reason}" in done.stdout.splitlines()[-1]
    assert content(server) == before


@pytest.mark.parametrize("script", ["backup.sh", "restore.sh", "drill.sh"])
def test_a_step_that_no_reason_was_written_for_is_told_all_the_same(pod: Pod, backup: str, script: str) -> None:
    path = pod.scripts / script
    path.write_text(path.read_text().replace("started=", "false; started=").replace("check_space\n\n", "false\n"))
    done = pod.run(script, RESTORE_FROM=backup, DRILL=str(pod.drill))
    assert done.returncode == 1
    assert "FAILED: the step before this line ended with status 1" in done.stdout.splitlines()[-1]
    if script == "restore.sh":
        assert done.stdout.endswith("; the old data is untouched\n")
