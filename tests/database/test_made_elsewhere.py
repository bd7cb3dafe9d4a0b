"""Dumps that this program has not made: they are restored as they are, without what only their server knows. Also
this program's backups that come as a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import content, fill
from tests.database.pod import Pod


def bring(pod: Pod, server: PostgresServer, *options: str) -> None:
    """Dumps the database as somebody else does, and puts the file where `ops restore` puts one."""
    dump = pod.upload / "database.dump"
    dump.unlink(missing_ok=True)
    server.run([server.bin / "pg_dump", "-Fc", *options, "-f", dump])
    (pod.upload / "database.dump.sha256").write_text(hashlib.sha256(dump.read_bytes()).hexdigest())


def test_a_dump_of_the_schema_public_alone_is_restored(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    server.sql("DROP SCHEMA reports CASCADE; COMMENT ON SCHEMA public IS 'ours'")
    before = content(server)
    bring(pod, server, "--schema=public")
    done = pod.run("restore.sh", RESTORE_FROM="upload")
    assert done.returncode == 0, done.stdout
    assert "the dump was made elsewhere: everything in it gets to belong to invoicetron" in done.stdout
    assert content(server) == before
    assert server.sql("SELECT has_schema_privilege('pg_monitor', 'public', 'usage')") == "t", "as in every database"


@pytest.mark.parametrize("more", [{}, {"RESTORE_INTO": "lost"}])
@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--schema-only", "the dump has tables and none of their rows"),
        ("--data-only", "the dump has rows and none of their tables, as pg_dump --data-only writes it"),
        ("--section=data", "the dump has rows and none of their tables"),
    ],
)
def test_half_a_dump_replaces_nothing(
    pod: Pod, server: PostgresServer, more: dict[str, str], option: str, reason: str
) -> None:
    fill(server)
    before = content(server)
    bring(pod, server, option)
    done = pod.run("restore.sh", RESTORE_FROM="upload", **more)
    assert done.returncode != 0
    assert reason in done.stdout.splitlines()[-1]
    assert content(server) == before


def test_a_dump_whose_tables_are_empty_has_their_rows(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    server.sql('TRUNCATE invoices, invoice_items, products, "user", session CASCADE')
    bring(pod, server, "--table=products")
    done = pod.run("restore.sh", RESTORE_FROM="upload")
    assert done.returncode == 0, done.stdout


def test_roles_that_its_policies_name_are_made_and_may_not_log_in(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    server.sql(
        """CREATE ROLE authenticated LOGIN; CREATE ROLE "An on"; ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;"""
        """CREATE POLICY own ON invoices TO authenticated, "An on" USING (true);"""
        "GRANT SELECT ON invoices TO authenticated"
    )
    before = content(server)
    bring(pod, server)
    server.sql('DROP OWNED BY authenticated, "An on" CASCADE; DROP ROLE authenticated, "An on"')
    more = {"RESTORE_FROM": "upload", "RESTORE_EXPECT": '{"rows": {"bills": 1}, "partial": true}'}
    done = pod.run("restore.sh", **more)
    assert done.returncode != 0
    assert server.sql("SELECT count(*) FROM pg_roles WHERE rolname IN ('authenticated', 'An on')") == "0"
    done = pod.run("restore.sh", RESTORE_FROM="upload")
    try:
        assert done.returncode == 0, done.stdout
        assert "does not describe: An on (it may not log in)" in done.stdout
        assert content(server) == before
        assert (
            server.sql("SELECT count(*) FROM pg_policies, unnest(roles) AS r WHERE r IN ('authenticated', 'An on')")
            == "2"
        )
        assert server.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'authenticated'") == "f"
        assert server.sql("SELECT has_table_privilege('authenticated', 'invoices', 'select')") == "f"
    finally:
        server.sql('DROP OWNED BY authenticated, "An on" CASCADE; DROP ROLE authenticated, "An on"')


def test_it_gets_the_settings_of_the_database_that_it_replaces(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    bring(pod, server)
    server.sql("ALTER DATABASE invoicetron SET timezone = 'Asia/Manila'; COMMENT ON DATABASE invoicetron IS 'invoices'")
    server.sql("REVOKE CONNECT ON DATABASE invoicetron FROM PUBLIC")
    done = pod.run("restore.sh", RESTORE_FROM="upload")
    assert done.returncode == 0, done.stdout
    assert server.sql("SHOW timezone") == "Asia/Manila"
    assert server.sql(
        "SELECT shobj_description(oid, 'pg_database'), datacl FROM pg_database WHERE datname = current_database()"
    ) == ("invoices|{=T/invoicetron,invoicetron=CTc/invoicetron}")


def test_a_tablespace_of_elsewhere_does_not_stop_it(pod: Pod, server: PostgresServer) -> None:
    fill(server)
    place = pod.folder(server.directory / "fast")
    server.sql(f"CREATE TABLESPACE fast LOCATION '{place}'", database="postgres")
    server.sql("ALTER TABLE invoices SET TABLESPACE fast")
    before = content(server)
    bring(pod, server)
    server.sql("ALTER TABLE invoices SET TABLESPACE pg_default; DROP TABLESPACE fast")
    done = pod.run("restore.sh", RESTORE_FROM="upload")
    assert done.returncode == 0, done.stdout
    assert content(server) == before


SUPERUSERS = """
CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER noted ON sql_drop EXECUTE FUNCTION noted();
CREATE EXTENSION postgres_fdw; CREATE FOREIGN DATA WRAPPER wrapper; CREATE SERVER far FOREIGN DATA WRAPPER wrapper;
"""
OWNERS = """
SELECT evtowner::regrole FROM pg_event_trigger UNION ALL SELECT proowner::regrole FROM pg_proc WHERE proname = 'noted'
UNION ALL SELECT fdwowner::regrole FROM pg_foreign_data_wrapper
UNION ALL SELECT srvowner::regrole FROM pg_foreign_server
UNION ALL SELECT relowner::regrole FROM pg_class WHERE relname = 'invoices'
"""


@pytest.fixture
def as_administrator(pod: Pod, server: PostgresServer) -> Iterator[dict[str, str]]:
    """A database with all that, and the variables of a pod whose user is a superuser and whose owner is none."""
    fill(server)
    server.sql(SUPERUSERS)
    server.sql("CREATE ROLE administrator SUPERUSER LOGIN PASSWORD 'theirs'; CREATE ROLE app")
    yield {"PGUSER": "administrator", "PGPASSWORD": "theirs", "OWNER": "app"}
    pod.run("discard.sh", DISCARD="lost")
    server.sql("DROP DATABASE invoicetron WITH (FORCE); DROP ROLE administrator, app", database="postgres")


def test_what_only_a_superuser_may_own_goes_to_the_servers_first_role(
    pod: Pod, server: PostgresServer, as_administrator: dict[str, str]
) -> None:
    bring(pod, server)
    done = pod.run("restore.sh", RESTORE_FROM="upload", **as_administrator)
    assert done.returncode == 0, done.stdout
    assert server.sql(OWNERS).split() == [*(["invoicetron"] * 4), "app", "app"]
    assert pod.run("backup.sh").returncode == 0
    done = pod.run("restore.sh", RESTORE_FROM="latest", **as_administrator)
    assert done.returncode == 0, done.stdout


def test_a_backup_with_what_only_a_superuser_may_own_can_be_looked_into(
    pod: Pod, server: PostgresServer, as_administrator: dict[str, str]
) -> None:
    assert pod.run("backup.sh").returncode == 0
    done = pod.run("restore.sh", RESTORE_FROM="latest", RESTORE_INTO="lost", **as_administrator)
    assert done.returncode == 0, done.stdout
    assert server.sql(OWNERS, database="invoicetron_look_lost").split() == [*(["invoicetron"] * 3), "app", "app"]


@pytest.fixture
def sent(pod: Pod, server: PostgresServer) -> None:
    """One of this program's backups as `ops restore` sends it: dump, manifest, checksum."""
    fill(server)
    server.sql("CREATE ROLE reader; GRANT SELECT ON invoices TO reader")
    assert pod.run("backup.sh").returncode == 0
    (name,) = pod.names()
    for file in ("database.dump", "manifest.json"):
        (pod.upload / file).write_bytes((pod.backups / name / file).read_bytes())
    checksum = hashlib.sha256((pod.upload / "database.dump").read_bytes()).hexdigest()
    (pod.upload / "database.dump.sha256").write_text(checksum)
    server.sql("DROP OWNED BY reader; DROP ROLE reader; DELETE FROM invoice_items")


@pytest.mark.usefixtures("sent")
def test_a_backup_that_comes_with_its_manifest_comes_back_whole(pod: Pod, server: PostgresServer) -> None:
    done = pod.run("restore.sh", RESTORE_FROM="upload")
    assert done.returncode == 0, done.stdout
    assert server.sql("SELECT has_table_privilege('reader', 'invoices', 'select')") == "t"
    assert server.sql("SELECT count(*) FROM invoice_items") == "1000"
    server.sql("DROP OWNED BY reader; DROP ROLE reader")


@pytest.mark.usefixtures("sent")
def test_the_manifest_of_another_dump_is_refused(pod: Pod, server: PostgresServer) -> None:
    before = content(server)
    bring(pod, server)
    done = pod.run("restore.sh", RESTORE_FROM="upload")
    assert done.returncode != 0
    assert "the manifest that came with the file is another dump's" in done.stdout.splitlines()[-1]
    assert content(server) == before


@pytest.mark.usefixtures("sent")
def test_a_manifest_is_data_and_never_a_statement(pod: Pod, server: PostgresServer) -> None:
    path = pod.upload / "manifest.json"
    manifest = json.loads(path.read_text())
    odd = "x\"; DROP TABLE invoices; --'\\\n$$"
    for role in manifest["globals"]["roles"]:
        if role["name"] == "reader":
            role["comment"] = odd
    manifest["globals"]["database"]["comment"] = odd
    manifest["globals"]["settings"] = [{"inDatabase": True, "name": "app.odd", "value": odd}]
    lines = [f'  "{key}": {json.dumps(value)},' for key, value in manifest.items()]
    path.write_text("\n".join(["{", *lines])[:-1] + "\n}\n")
    done = pod.run("restore.sh", RESTORE_FROM="upload")
    assert done.returncode == 0, done.stdout
    assert server.sql("SELECT count(*) FROM invoices") == "500"
    assert server.sql("SHOW app.odd") == odd
    server.sql("DROP OWNED BY reader; DROP ROLE reader")
