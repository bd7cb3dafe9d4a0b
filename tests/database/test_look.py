"""restore.sh with RESTORE_INTO, and discard.sh: a database to look into, beside a live one that is not disturbed."""

from __future__ import annotations

import subprocess
import time

import psycopg
import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import CONTENT, content, databases
from tests.database.kill_delay import KillDelay
from tests.database.pod import Pod, kill_group
from tests.database.test_whole import FURTHER, OWNED, made_of, sql

LOOK = "invoicetron_look_lost"
KILLS = 10
# On everything that a database to look into is without.
COMMENTED = """
CREATE POLICY own ON products USING (id > 3); COMMENT ON POLICY own ON products IS 'theirs';
CREATE PUBLICATION part FOR TABLE products; COMMENT ON PUBLICATION part IS 'of the products';
CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER noted ON sql_drop EXECUTE FUNCTION noted(); COMMENT ON EVENT TRIGGER noted IS 'of drops';
CREATE SUBSCRIPTION far CONNECTION 'host=192.0.2.1' PUBLICATION p WITH (connect = false, slot_name = NONE);
COMMENT ON SUBSCRIPTION far IS 'of the far away';
COMMENT ON SCHEMA public IS 'ours'; COMMENT ON TABLE products IS 'what is sold';
"""
ROLES = "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles"


def wait_for_something_to_look_into(server: PostgresServer, process: subprocess.Popen[str]) -> None:
    """Waits until the database has its name, shortly before the restore ends."""
    while True:
        ended = process.poll() is not None
        if LOOK in databases(server):
            return
        assert not ended, process.communicate()[0]
        time.sleep(0.01)


def test_a_backup_is_looked_into_beside_the_live_database_and_discarded(
    pod: Pod, server: PostgresServer, backup: str
) -> None:
    now, volume = content(server), pod.names()
    with psycopg.connect(server.url) as app:
        done = pod.run("restore.sh", RESTORE_FROM="latest", RESTORE_INTO="lost")
        assert done.returncode == 0, done.stdout
        assert app.execute("SELECT count(*) FROM payments").fetchone() == (0,), "the app has not been disturbed"
    assert databases(server) == ["invoicetron", LOOK, "postgres"]
    assert server.sql("SELECT count(*) FROM invoice_items", database=LOOK) == "1000"
    assert content(server) == now
    assert pod.names() == volume, "there was nothing to save"
    with pytest.raises(Exception, match="returned non-zero"):
        server.sql("DELETE FROM invoices", database=LOOK)
    again = pod.run("restore.sh", RESTORE_FROM=backup, RESTORE_INTO="lost")
    assert again.returncode == 1
    assert f"there is a database {LOOK} already" in again.stdout.splitlines()[-1]
    # Backups and restores ignore it.
    assert pod.run("backup.sh").returncode == 0
    assert LOOK not in (pod.backups / pod.names()[-1] / "manifest.json").read_text()
    assert pod.run("restore.sh", RESTORE_FROM=backup).returncode == 0
    assert databases(server) == ["invoicetron", LOOK, "postgres"]
    for _ in range(2):
        done = pod.run("discard.sh", DISCARD="lost")
        assert done.returncode == 0, done.stdout
        assert databases(server) == ["invoicetron", "postgres"]


def test_a_look_makes_no_role_and_hides_no_row(pod: Pod, server: PostgresServer, backup: str) -> None:
    server.sql(
        "CREATE ROLE clerk LOGIN; ALTER TABLE invoices OWNER TO clerk; GRANT SELECT ON products TO clerk;"
        "ALTER TABLE products ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
        "CREATE POLICY own ON products TO clerk USING (false);"
        "CREATE PUBLICATION everything FOR ALL TABLES;"
        "ALTER DATABASE invoicetron SET work_mem = '8MB'; ALTER ROLE clerk IN DATABASE invoicetron SET work_mem = '9MB'"
    )
    assert pod.run("backup.sh").returncode == 0
    server.sql(
        "DROP PUBLICATION everything; ALTER TABLE invoices OWNER TO invoicetron; DROP POLICY own ON products;"
        "REVOKE ALL ON products FROM clerk; ALTER ROLE clerk IN DATABASE invoicetron RESET ALL; DROP ROLE clerk"
    )
    before = server.sql(ROLES)
    done = pod.run("restore.sh", RESTORE_FROM="latest", RESTORE_INTO="lost")
    assert done.returncode == 0, done.stdout
    assert server.sql(ROLES) == before
    assert server.sql("SELECT count(*) FROM products", database=LOOK) == "39"
    assert server.sql("SELECT count(*) FROM pg_policies", database=LOOK) == "0"
    assert server.sql("SELECT count(*) FROM pg_publication", database=LOOK) == "0"
    assert pod.run("discard.sh", DISCARD="lost").returncode == 0
    assert backup in pod.names()


@pytest.mark.parametrize("statements", [OWNED, FURTHER, COMMENTED], ids=["owned", "further", "commented"])
def test_whatever_a_backup_holds_can_be_looked_into(pod: Pod, server: PostgresServer, statements: str) -> None:
    with made_of(statements, server):
        before = sql(server, CONTENT)
        done = pod.run("backup.sh")
        assert done.returncode == 0, done.stdout
        sql(server, "DROP SUBSCRIPTION IF EXISTS far")  # otherwise the database cannot be dropped
        done = pod.run("restore.sh", RESTORE_FROM="latest", RESTORE_INTO="lost")
        assert done.returncode == 0, done.stdout
        assert sql(server, CONTENT, LOOK) == before
        done = pod.run("discard.sh", DISCARD="lost")
        assert done.returncode == 0, done.stdout


def test_what_is_not_as_expected_is_not_shown(pod: Pod, server: PostgresServer, backup: str) -> None:
    manifest = pod.backups / backup / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"products": 39', '"products": 40'))
    done = pod.run("restore.sh", RESTORE_FROM=backup, RESTORE_INTO="lost")
    assert done.returncode == 1
    assert "table products: 40 rows expected, 39 found" in done.stdout
    assert databases(server) == ["invoicetron", "postgres"]


def test_discarding_takes_away_nothing_else(pod: Pod, server: PostgresServer, backup: str) -> None:
    for name in ("", "../invoicetron", 'lost"; DROP DATABASE invoicetron; --', "lost"):
        pod.run("discard.sh", DISCARD=name)
    assert databases(server) == ["invoicetron", "postgres"]
    assert backup in pod.names()


def test_killed_at_any_point_there_is_a_whole_database_to_look_into_or_none(
    pod: Pod, server: PostgresServer, backup: str
) -> None:
    now = content(server)
    started = time.monotonic()
    assert pod.run("restore.sh", RESTORE_FROM=backup, RESTORE_INTO="lost").returncode == 0
    usual, whole = time.monotonic() - started, content(server, LOOK)
    delay = KillDelay(usual, seed=20260206)
    assert pod.run("discard.sh", DISCARD="lost").returncode == 0
    for attempt in range(KILLS):
        process = pod.start("restore.sh", RESTORE_FROM=backup, RESTORE_INTO="lost")
        if attempt:
            time.sleep(delay.draw())
        else:
            wait_for_something_to_look_into(server, process)
        kill_group(process)
        process.communicate(timeout=60)
        delay.met(process.returncode != 0)
        there = LOOK in databases(server)
        assert not there or content(server, LOOK) == whole
        assert content(server) == now
        if there:
            assert pod.run("discard.sh", DISCARD="lost").returncode == 0
    assert pod.run("restore.sh", RESTORE_FROM=backup, RESTORE_INTO="lost").returncode == 0
    assert databases(server) == ["invoicetron", LOOK, "postgres"]
    assert pod.run("discard.sh", DISCARD="lost").returncode == 0
