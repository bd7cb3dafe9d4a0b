"""What was right when it was written, and is not when a restore writes it again, does not hold up the rest."""

from __future__ import annotations

import subprocess

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import CONTENT, content, fill
from tests.database.pod import Pod
from tests.database.test_made_elsewhere import bring
from tests.database.test_whole import FURTHER, made_of, sql
from tests.database.written import written

# Rows of bills are restored before those of currencies.
LOOKS_UP = """
CREATE TABLE currencies (code text PRIMARY KEY); INSERT INTO currencies VALUES ('EUR');
CREATE FUNCTION is_known(code text) RETURNS boolean LANGUAGE sql AS
    'SELECT EXISTS (SELECT FROM public.currencies WHERE currencies.code = $1)';
CREATE FUNCTION has_to_be_known(code text) RETURNS boolean LANGUAGE plpgsql AS
    'BEGIN IF NOT public.is_known(code) THEN RAISE ''unknown''; END IF; RETURN true; END';
CREATE DOMAIN currency AS text CONSTRAINT known CHECK ({function}(VALUE));
CREATE TABLE bills (id int, code text CONSTRAINT known CHECK ({function}(code)), also currency CHECK (also <> ''));
CREATE TABLE older_bills (CONSTRAINT known CHECK ({function}(code))) INHERITS (bills);
CREATE TABLE bills_by_day (code text, at date, CONSTRAINT "known; 'so'" CHECK ({function}(code)))
    PARTITION BY RANGE (at);
CREATE TABLE bills_of_today PARTITION OF bills_by_day DEFAULT;
INSERT INTO bills VALUES (1, 'EUR', 'EUR'); INSERT INTO older_bills VALUES (2, 'EUR', 'EUR');
INSERT INTO bills_by_day VALUES ('EUR', '2025-01-01');
COMMENT ON CONSTRAINT known ON DOMAIN currency IS 'in currencies'; COMMENT ON CONSTRAINT known ON bills IS 'too';
"""


@pytest.mark.parametrize("function", ["is_known", "has_to_be_known"])
def test_a_constraint_that_looks_up_other_rows_comes_back_as_it_was(
    pod: Pod, server: PostgresServer, function: str
) -> None:
    with made_of(FURTHER + LOOKS_UP.format(function=function), server):
        before, rows = written(server), sql(server, CONTENT)
        assert pod.run("backup.sh").returncode == 0
        for script in ("drill.sh", "restore.sh"):
            done = pod.run(script, DRILL=str(pod.drill), RESTORE_FROM="".join(pod.names()[:1]))
            assert done.returncode == 0, done.stdout
            assert "once more, with the CHECK constraints at the end" in done.stdout
            assert "NOT VALID" not in done.stdout
        assert written(server) == before
        assert sql(server, CONTENT) == rows


@pytest.mark.parametrize("made_elsewhere", [False, True])
def test_rows_that_have_outlived_their_constraint_come_back(
    pod: Pod, server: PostgresServer, made_elsewhere: bool
) -> None:
    fill(server)
    server.sql("""
        CREATE TABLE offers (until timestamptz CONSTRAINT open CHECK (until > now()));
        INSERT INTO offers VALUES (now() + interval '0.1 s'); SELECT pg_sleep(0.2);
    """)
    before = content(server)
    assert pod.run("backup.sh").returncode == 0
    if made_elsewhere:
        bring(pod, server)
    server.sql("DELETE FROM offers")
    name = "upload" if made_elsewhere else pod.names()[0]
    for _ in range(2):
        done = pod.run("restore.sh", RESTORE_FROM=name)
        assert done.returncode == 0, done.stdout
        assert "NOT VALID, because the restored rows do not pass them: open of offers\n" in done.stdout
        assert content(server) == before
    # The next backup needs no second attempt, and the constraint is still there for new rows.
    assert pod.run("backup.sh").returncode == 0
    done = pod.run("drill.sh", DRILL=str(pod.drill))
    assert done.returncode == 0, done.stdout
    assert "once more" not in done.stdout
    assert server.sql("SELECT convalidated FROM pg_constraint WHERE conname = 'open'") == "f"


VIEWS = """
CREATE TABLE rates (rate int, per int);
CREATE MATERIALIZED VIEW unique_rates AS SELECT rate FROM rates; CREATE UNIQUE INDEX ON unique_rates (rate);
CREATE MATERIALIZED VIEW "Of that" AS SELECT count(*) FROM unique_rates;
CREATE MATERIALIZED VIEW shares AS SELECT rate / per AS share FROM rates;
CREATE MATERIALIZED VIEW invoices_by_note AS SELECT note, count(*) FROM invoices GROUP BY note;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM invoices_by_note;
INSERT INTO rates VALUES (1, 1), (1, 0);
"""


def test_a_materialized_view_whose_query_fails_stays_empty_and_the_rest_comes_back(
    pod: Pod, server: PostgresServer
) -> None:
    fill(server)
    server.sql(VIEWS)
    before = content(server)
    assert pod.run("backup.sh").returncode == 0
    for script in ("drill.sh", "restore.sh"):
        done = pod.run(script, DRILL=str(pod.drill), RESTORE_FROM="".join(pod.names()[:1]))
        assert done.returncode == 0, done.stdout
        (line,) = [line for line in done.stdout.splitlines() if "stay empty until a REFRESH" in line]
        assert all(view in line for view in ("public.unique_rates", 'public."Of that"', "public.shares"))
        assert "public.counted" not in line
        assert "division by zero" in done.stdout
    assert content(server) == before
    assert server.sql("SELECT * FROM counted") == "500"
    assert server.sql(
        "SELECT string_agg(matviewname, ' ' ORDER BY matviewname) FROM pg_matviews WHERE NOT ispopulated"
    ) == ("Of that shares unique_rates")


def test_a_part_on_a_server_out_of_reach_leaves_a_table_without_statistics(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    server.sql("""
        CREATE EXTENSION postgres_fdw;
        CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1');
        CREATE USER MAPPING FOR PUBLIC SERVER far OPTIONS (password 'x');
        CREATE TABLE parts (id int) PARTITION BY LIST (id); CREATE TABLE near PARTITION OF parts FOR VALUES IN (1);
        CREATE FOREIGN TABLE there PARTITION OF parts FOR VALUES IN (2) SERVER far; INSERT INTO parts VALUES (1);
    """)
    before = content(server)
    bring(pod, server)
    done = pod.run("restore.sh", RESTORE_FROM="upload")
    assert done.returncode == 0, done.stdout
    assert "not all tables could be analyzed: autovacuum does the others" in done.stdout
    assert content(server) == before


# As an import that disables triggers leaves it.
ORPHANS = """
CREATE FUNCTION half(i int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT i / 2';
CREATE FUNCTION quarter(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN half(half(i)); END';
CREATE TABLE refunds (
    invoice int CONSTRAINT "of; 'it'" REFERENCES invoices, product int CONSTRAINT sold REFERENCES products
);
CREATE TABLE parts (id int, invoice int CONSTRAINT of_one REFERENCES invoices) PARTITION BY LIST (id);
CREATE TABLE part PARTITION OF parts DEFAULT;
ALTER TABLE refunds ADD CONSTRAINT later FOREIGN KEY (product) REFERENCES invoices NOT VALID;
COMMENT ON CONSTRAINT "of; 'it'" ON refunds IS 'kept'; COMMENT ON CONSTRAINT sold ON refunds IS 'too';
SET session_replication_role = replica;
INSERT INTO refunds VALUES (1, 2), (9999, 3); INSERT INTO parts VALUES (1, 9999);
SET session_replication_role = origin;
"""
COMPUTED = """
CREATE TABLE computed (a int, b int GENERATED ALWAYS AS (quarter(a)) STORED); INSERT INTO computed VALUES (8);
"""
KEYS = "SELECT conname, convalidated, obj_description(oid) FROM pg_constraint WHERE contype = 'f' ORDER BY conname, oid"


@pytest.mark.parametrize(
    ("more", "again"),
    [
        ("", "once more, with the foreign keys at the end"),
        (VIEWS, "once more, with the materialized views at the end"),
        (COMPUTED, "once more, with the database's own search path"),
        (LOOKS_UP.format(function="is_known"), "once more, with the CHECK constraints at the end"),
    ],
    ids=["alone", "views", "search path", "checks"],
)
def test_rows_that_refer_to_nothing_come_back(pod: Pod, server: PostgresServer, more: str, again: str) -> None:
    fill(server)
    server.sql(ORPHANS + more)
    before, keys = content(server), server.sql(KEYS)
    assert "sold|t|too" in keys
    assert "later|f|" in keys
    assert pod.run("backup.sh").returncode == 0
    for script in ("drill.sh", "restore.sh"):
        done = pod.run(script, DRILL=str(pod.drill), RESTORE_FROM="".join(pod.names()[:1]))
        assert done.returncode == 0, done.stdout
        assert again in done.stdout
        (line,) = [line for line in done.stdout.splitlines() if "NOT VALID" in line]
        assert line.endswith("""that are not there: "of; 'it'" of public.refunds, of_one of public.parts"""), line
    assert content(server) == before
    broken = {"of; 'it'", "of_one"}
    expected = [line.replace("|t|", "|f|") if line.split("|")[0] in broken else line for line in keys.splitlines()]
    assert server.sql(KEYS).splitlines() == expected
    for statement in ("INSERT INTO refunds VALUES (8888)", "INSERT INTO parts VALUES (2, 8888)"):
        with pytest.raises(subprocess.CalledProcessError):
            server.sql(statement)
    assert pod.run("backup.sh").returncode == 0
    done = pod.run("drill.sh", DRILL=str(pod.drill))
    assert done.returncode == 0, done.stdout
    assert "with the foreign keys at the end" not in done.stdout


@pytest.mark.parametrize("more", ["", LOOKS_UP.format(function="is_known")], ids=["alone", "checks"])
def test_a_dump_made_elsewhere_without_the_rows_that_are_referred_to_replaces_nothing(
    pod: Pod, server: PostgresServer, more: str
) -> None:
    fill(server)
    server.sql(more)
    before = content(server)
    bring(pod, server, "--exclude-table-data=invoices")
    done = pod.run("restore.sh", RESTORE_FROM="upload")
    assert done.returncode != 0
    assert 'violates foreign key constraint "invoice_items_invoice_fkey"' in done.stdout
    assert content(server) == before
