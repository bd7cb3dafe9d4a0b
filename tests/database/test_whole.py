"""This program's backups restore completely, on the server that they were taken from and on a new one.

pg_dump and pg_dumpall write the same of the copy as of the original.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import CONTENT, content, fill
from tests.database.pod import Pod
from tests.database.start_hook import start_hook
from tests.database.written import CLEAN, written

OWNED = (Path(__file__).parent / "owned.sql").read_text(encoding="utf-8")
FURTHER = (Path(__file__).parent / "further.sql").read_text(encoding="utf-8")


def sql(server: PostgresServer, statement: str, database: str = "invoicetron") -> str:
    """Runs a statement as a superuser, with event triggers off."""
    command: list[str | Path] = [server.bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database]
    env = server.environment(local=True, **CLEAN)
    return server.run(command, env=env, input=statement, capture_output=True).stdout.strip()


@pytest.fixture
def owned(pod: Pod) -> Iterator[None]:
    """A database with everything that belongs to roles; the roles are dropped afterwards."""
    with made_of(OWNED, pod.server):
        yield


@contextmanager
def made_of(statements: str, server: PostgresServer) -> Iterator[None]:
    fill(server)
    server.sql(statements)
    yield
    maintenance = "postgres"
    sql(server, "DROP DATABASE IF EXISTS invoicetron WITH (FORCE)", maintenance)
    ours = "FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'invoicetron'"
    for statement in ("DROP OWNED BY %s CASCADE", "DROP ROLE %s"):
        sql(
            server,
            f"SELECT format('{statement}', string_agg(quote_ident(rolname), ', ')) {ours} HAVING count(*) > 0 \\gexec",
            maintenance,
        )
    sql(server, "ALTER ROLE ALL RESET ALL; ALTER ROLE invoicetron RESET ALL", maintenance)
    sql(server, "REVOKE ALL ON PARAMETER log_min_messages FROM PUBLIC", maintenance)


@pytest.fixture
def elsewhere() -> Iterator[Pod]:
    """A pod beside a new server, which has none of the first server's roles."""
    with PostgresServer() as new:
        directory = new.directory / "pod"
        directory.mkdir()
        yield Pod(new, directory)


def carry(pod: Pod, name: str, elsewhere: Pod) -> None:
    """Copies a backup to the other pod's volume."""
    shutil.copytree(pod.backups / name, elsewhere.backups / name)
    for path in (elsewhere.backups / name, *(elsewhere.backups / name).iterdir()):
        elsewhere.give(path)


@pytest.mark.usefixtures("owned")
def test_everything_comes_back_on_the_server_that_it_is_of(pod: Pod, server: PostgresServer) -> None:
    before = written(server)
    done = pod.run("backup.sh")
    assert done.returncode == 0, done.stdout
    (name,) = pod.names()
    sql(server, "ALTER ROLE clerk NOLOGIN; ALTER ROLE clerk RESET ALL; REVOKE readers FROM clerk CASCADE")
    sql(server, "ALTER DATABASE invoicetron RESET ALL; GRANT readers TO \"Upper Case\"; COMMENT ON ROLE guard IS 'new'")
    sql(server, "REVOKE SET ON PARAMETER log_duration FROM clerk; ALTER DATABASE invoicetron OWNER TO invoicetron")
    sql(server, "CREATE ROLE newer; GRANT readers TO newer; ALTER TABLE invoices DISABLE ROW LEVEL SECURITY")
    try:
        done = pod.run("restore.sh", RESTORE_FROM=name)
        assert done.returncode == 0, done.stdout
        assert "\nrole clerk: " in done.stdout or "role clerk: login" in done.stdout, done.stdout
        assert sql(server, "SELECT pg_has_role('newer', 'readers', 'member')") == "t", "not the backup's to take away"
    finally:
        sql(server, "DROP ROLE newer")
    assert written(server) == before


@pytest.mark.usefixtures("owned")
def test_everything_comes_back_on_a_new_server(pod: Pod, server: PostgresServer, elsewhere: Pod) -> None:
    before = written(server)
    assert pod.run("backup.sh").returncode == 0
    (name,) = pod.names()
    carry(pod, name, elsewhere)
    done = elsewhere.run("restore.sh", RESTORE_FROM=name)
    assert done.returncode == 0, done.stdout
    assert "these roles have none to log in with: clerk\n" in done.stdout
    assert "far-away" not in done.stdout
    assert "far-away" not in elsewhere.server.log.read_text()
    assert written(elsewhere.server) == before


def test_every_kind_of_object_comes_back_wherever_it_is_restored(
    pod: Pod, server: PostgresServer, elsewhere: Pod
) -> None:
    with made_of(FURTHER, server):
        before = written(server)
        assert pod.run("backup.sh").returncode == 0
        (name,) = pod.names()
        carry(pod, name, elsewhere)
        for one, script in ((pod, "drill.sh"), (pod, "restore.sh"), (elsewhere, "restore.sh")):
            done = one.run(script, RESTORE_FROM=name, DRILL=str(pod.drill))
            assert done.returncode == 0, done.stdout
            assert "far" not in done.stdout
            assert written(one.server) == before


@pytest.mark.usefixtures("owned")
def test_the_drill_restores_everything_and_sees_what_is_missing(pod: Pod) -> None:
    assert pod.run("backup.sh").returncode == 0
    done = pod.run("drill.sh", DRILL=str(pod.drill), PGHOST="nowhere", PGPORT="1")
    assert done.returncode == 0, done.stdout
    roles = pod.scripts / "roles.sql"
    roles.write_text(re.sub(r"\\ir settings.sql\n", "", roles.read_text()))
    done = pod.run("drill.sh", DRILL=str(pod.drill), PGHOST="nowhere", PGPORT="1")
    assert done.returncode != 0
    assert "role clerk: app.key, search_path" in done.stdout.splitlines()


@pytest.mark.usefixtures("owned")
def test_a_backup_of_before_roles_were_kept_still_comes_back(pod: Pod, server: PostgresServer, elsewhere: Pod) -> None:
    # The trigger is a superuser's; `checked` needs a setting that nothing has kept; no message holds the role's name in
    # one line.
    sql(server, 'DROP EVENT TRIGGER no_drops; DROP TABLE checked; DROP OWNED BY U&"new\\000Aline" CASCADE')
    rows = sql(server, CONTENT)
    assert pod.run("backup.sh").returncode == 0
    (name,) = pod.names()
    path = pod.backups / name / "manifest.json"
    manifest = json.loads(path.read_text())
    lines = [line for line in path.read_text().splitlines() if not line.startswith('  "globals"')]
    manifest["inventory"].pop("totals"), manifest["inventory"].pop("largeObjects")
    lines[-2:] = [f'  "inventory": {json.dumps(manifest["inventory"])}', "}"]
    path.write_text("\n".join(lines).replace('"format": 2', '"format": 1') + "\n")
    carry(pod, name, elsewhere)
    done = elsewhere.run("restore.sh", RESTORE_FROM=name)
    assert done.returncode == 0, done.stdout
    assert "role made, which the dump names but does not describe: clerk (it may not log in)" in done.stdout
    assert sql(elsewhere.server, CONTENT) == rows
    assert sql(elsewhere.server, "SELECT tableowner FROM pg_tables WHERE tablename = 'products'") == "clerk"
    assert sql(elsewhere.server, "SELECT has_table_privilege('readers', 'invoices', 'select')") == "t"
    done = pod.run("drill.sh", DRILL=str(pod.drill), PGHOST="nowhere", PGPORT="1")
    assert done.returncode == 0, done.stdout


@pytest.mark.usefixtures("owned")
def test_an_attempt_that_replaces_nothing_leaves_no_role(pod: Pod, elsewhere: Pod) -> None:
    assert pod.run("backup.sh").returncode == 0
    (name,) = pod.names()
    carry(pod, name, elsewhere)
    done = elsewhere.run("restore.sh", RESTORE_FROM=name, RESTORE_EXPECT='{"rows": {"bills": 1}, "partial": true}')
    assert done.returncode != 0
    assert (
        elsewhere.server.sql("SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolname !~ '^pg_'") == "invoicetron"
    )


def test_a_server_of_thousands_of_roles_comes_back(pod: Pod, server: PostgresServer, elsewhere: Pod) -> None:
    fill(server)
    many = "FOR i IN 1..3000 LOOP EXECUTE format('{} ROLE a_tenant_of_a_long_and_speaking_name_%s{}', i); END LOOP"
    server.sql(f"DO $$ BEGIN {many.format('CREATE', ' LOGIN')}; END $$")
    try:
        assert pod.run("backup.sh").returncode == 0
    finally:
        server.sql(f"DO $$ BEGIN {many.format('DROP', '')}; END $$")
    (name,) = pod.names()
    carry(pod, name, elsewhere)
    count = "SELECT count(*) FROM pg_roles WHERE rolcanlogin"
    done = elsewhere.run("restore.sh", RESTORE_FROM=name, RESTORE_EXPECT='{"rows": {"bills": 1}, "partial": true}')
    assert done.returncode != 0
    assert elsewhere.server.sql(count) == "1"
    done = elsewhere.run("restore.sh", RESTORE_FROM=name)
    assert done.returncode == 0, done.stdout[-400:]
    assert elsewhere.server.sql(count) == "3001"


def test_a_backup_of_a_newer_format_is_refused(pod: Pod, server: PostgresServer, backup: str) -> None:
    path = pod.backups / backup / "manifest.json"
    path.write_text(path.read_text().replace('"format": 2', '"format": 3'))
    before = content(server)
    done = pod.run("restore.sh", RESTORE_FROM=backup)
    assert done.returncode != 0
    assert "was written by a newer version" in done.stdout.splitlines()[-1]
    assert content(server) == before


def test_a_schema_public_that_is_gone_does_not_come_back(pod: Pod, server: PostgresServer) -> None:
    server.sql("DROP SCHEMA public; CREATE SCHEMA app; CREATE TABLE app.invoices (id integer)")
    assert pod.run("backup.sh").returncode == 0
    done = pod.run("restore.sh", RESTORE_FROM=pod.names()[0])
    assert done.returncode == 0, done.stdout
    assert server.sql("SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname !~ '^(pg_|inf)'") == "app"


def test_a_database_of_another_locale_and_encoding_comes_back_as_such(pod: Pod, server: PostgresServer) -> None:
    server.sql("DROP DATABASE invoicetron", database="postgres")
    server.sql(
        "CREATE DATABASE invoicetron TEMPLATE template0 ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C'",
        database="postgres",
    )
    server.sql("CREATE TABLE invoices (id integer)")
    assert pod.run("backup.sh").returncode == 0
    before = written(server)
    for builtin in (False, True):
        if builtin:
            server.sql("DROP DATABASE invoicetron", database="postgres")
            server.sql(
                "CREATE DATABASE invoicetron TEMPLATE template0 LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
                " IS_TEMPLATE true",
                database="postgres",
            )
            server.sql("CREATE TABLE invoices (id integer)")
            assert pod.run("backup.sh").returncode == 0
            before = written(server)
        done = pod.run("restore.sh", RESTORE_FROM=pod.names()[-1])
        assert done.returncode == 0, done.stdout
        assert written(server) == before
    server.sql("ALTER DATABASE invoicetron IS_TEMPLATE false", database="postgres")


@pytest.mark.usefixtures("owned")
def test_a_setting_that_this_server_does_not_take_is_said_and_left_out(pod: Pod, server: PostgresServer) -> None:
    """For instance a locale: the alpine image takes any name for one, the operator's minimal image has nearly none."""
    sql(server, "ALTER DATABASE invoicetron SET lc_monetary = 'C'; ALTER ROLE clerk SET lc_time = 'C'")
    assert pod.run("backup.sh").returncode == 0
    (name,) = pod.names()
    manifest = pod.backups / name / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"value": "C"', '"value": "en_XX.utf8"'))
    done = pod.run("restore.sh", RESTORE_FROM=name)
    assert done.returncode == 0, done.stdout
    assert "this server does not take the setting lc_monetary of the database" in done.stdout
    assert "this server does not take the setting lc_time of the role clerk" in done.stdout
    settings = sql(server, "SELECT setconfig FROM pg_db_role_setting WHERE setrole = 0 AND setdatabase <> 0")
    assert "TimeZone=Asia/Manila" in settings
    assert "lc_monetary" not in settings


@pytest.mark.parametrize(
    ("whose", "setting", "kept"),
    [
        ("ROLE invoicetron", "session_preload_libraries=auto_explain, auto_explain", True),
        ("ROLE invoicetron", "session_preload_libraries=auto_explain, not_there", False),
        ("DATABASE invoicetron", "session_preload_libraries=auto_explain, not_there", False),
        ("ROLE ALL", "session_preload_libraries=auto_explain, not_there", False),
        # It is not in the folder that anybody may load from.
        ("DATABASE invoicetron", "local_preload_libraries=auto_explain", False),
    ],
)
def test_a_library_that_this_server_does_not_have_locks_nobody_out(
    pod: Pod, elsewhere: Pod, whose: str, setting: str, kept: bool
) -> None:
    fill(pod.server)
    pod.server.sql(f"ALTER {whose} SET session_preload_libraries = auto_explain, dblink")
    try:
        assert pod.run("backup.sh").returncode == 0
    finally:
        pod.server.sql(f"ALTER {whose} RESET ALL")
    (name,) = pod.names()
    carry(pod, name, elsewhere)
    manifest = elsewhere.backups / name / "manifest.json"
    text = manifest.read_text()
    for old, new in zip(("session_preload_libraries", "auto_explain, dblink"), setting.split("="), strict=True):
        text = text.replace(f'"{old}"', f'"{new}"')
    manifest.write_text(text)
    done = elsewhere.run("restore.sh", RESTORE_FROM=name)
    assert done.returncode == 0, done.stdout
    assert elsewhere.server.sql("SELECT setconfig FROM pg_db_role_setting") == (f'{{"{setting}"}}' if kept else "")
    assert kept != ("this server does not take the setting" in done.stdout)


@pytest.mark.parametrize("attributes", ["NOSUPERUSER", "SUPERUSER NOLOGIN CONNECTION LIMIT 0"])
def test_a_role_that_has_the_name_of_a_servers_first_one_leaves_that_one_as_it_is(
    pod: Pod, server: PostgresServer, elsewhere: Pod, attributes: str
) -> None:
    new = elsewhere.server
    assert start_hook(new, new.password).returncode == 0
    new.sql("ALTER ROLE invoicetron SUPERUSER", database="postgres")
    with made_of(f"CREATE ROLE postgres {attributes}; ALTER TABLE products OWNER TO postgres", server):
        before = sql(server, CONTENT)
        assert pod.run("backup.sh").returncode == 0
        carry(pod, pod.names()[0], elsewhere)
        for one, script in ((pod, "drill.sh"), (pod, "restore.sh"), (elsewhere, "restore.sh")):
            lent = str(one is elsewhere).lower()
            done = one.run(script, RESTORE_FROM="latest", DRILL=str(pod.drill), RESTORE_LENT=lent)
            assert done.returncode == 0, done.stdout
    assert sql(new, CONTENT) == before
    assert sql(new, "SELECT tableowner FROM pg_tables WHERE tablename = 'products'") == "postgres"
    done = start_hook(new, new.password)
    assert done.returncode == 0, done.stderr


def test_a_tablespace_that_this_server_has_not_is_said(pod: Pod, server: PostgresServer, elsewhere: Pod) -> None:
    fill(server)
    place = pod.folder(server.directory / "place")
    server.sql(f"CREATE TABLESPACE fast LOCATION '{place}'", database="postgres")
    try:
        server.sql("ALTER TABLE invoices SET TABLESPACE fast")
        before = content(server)
        assert pod.run("backup.sh").returncode == 0
        (name,) = pod.names()
        carry(pod, name, elsewhere)
        done = elsewhere.run("restore.sh", RESTORE_FROM=name)
        assert done.returncode == 0, done.stdout
        assert "this server has no tablespace fast: everything comes into the default one" in done.stdout
        assert content(elsewhere.server) == before
        done = pod.run("restore.sh", RESTORE_FROM=name)
        assert done.returncode == 0, done.stdout
        assert server.sql("SELECT tablespace FROM pg_tables WHERE tablename = 'invoices'") == "fast"
    finally:
        server.sql("DROP DATABASE invoicetron WITH (FORCE)", database="postgres")
        server.sql("DROP TABLESPACE fast", database="postgres")
