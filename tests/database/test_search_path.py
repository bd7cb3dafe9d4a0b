"""Scripts that run as a superuser call nothing that the database's owner, who is none, has made (CVE-2018-1058)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import content, fill
from tests.database.pod import Pod

OWNER: Final = "tenant"
# Closer to the arguments of the calls than PostgreSQL's own format(text, VARIADIC "any"), and found before it.
OWN: Final = """
ALTER DATABASE invoicetron SET search_path = public, pg_catalog;
SET ROLE {owner};
CREATE FUNCTION public.take() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        EXECUTE 'COPY (SELECT 1) TO PROGRAM ''cat >{taken}''';
    END IF;
END $$;
CREATE FUNCTION public.format(text, name, name) RETURNS text LANGUAGE plpgsql AS $$
BEGIN PERFORM public.take(); RETURN pg_catalog.format($1, $2, $3); END $$;
CREATE FUNCTION public.format(text, oid, text, name, name) RETURNS text LANGUAGE plpgsql AS $$
BEGIN PERFORM public.take(); RETURN pg_catalog.format($1, $2, $3, $4, $5); END $$;
CREATE FUNCTION public.pg_walfile_name(pg_lsn) RETURNS text LANGUAGE plpgsql AS $$
BEGIN PERFORM public.take(); RETURN pg_catalog.pg_walfile_name($1); END $$;
"""


def taken(pod: Pod, server: PostgresServer) -> Path:
    """Has another role own the database and what stands in for PostgreSQL's functions there, which writes this file."""
    file = pod.folder(pod.directory / "taken") / "taken"
    server.sql(f"CREATE ROLE {OWNER}; ALTER DATABASE invoicetron OWNER TO {OWNER}")
    server.sql(OWN.format(owner=OWNER, taken=file))
    return file


@pytest.fixture
def file(pod: Pod, server: PostgresServer) -> Iterator[Path]:
    fill(server)
    yield taken(pod, server)
    server.sql(f"DROP DATABASE invoicetron WITH (FORCE); DROP ROLE {OWNER}", database="postgres")


def test_neither_backup_nor_restore_nor_comparison_calls_them(pod: Pod, server: PostgresServer, file: Path) -> None:
    before = content(server)
    for script in ("backup.sh", "after-upgrade.sh", "restore.sh"):
        name = "".join(pod.names()[:1])
        done = pod.run(script, RESTORE_FROM=name, BACKUP=name, MAJOR="18")
        assert done.returncode == 0, done.stdout
        assert not file.exists(), script
    assert content(server) == before


def test_archiving_the_log_calls_them_neither() -> None:
    with PostgresServer(settings={"archive_mode": "on", "archive_command": "true"}) as server:
        directory = server.directory / "pod"
        directory.mkdir()
        pod = Pod(server, directory)
        file = taken(pod, server)
        done = pod.run("archive-log.sh", PATIENCE="60")
        assert done.returncode == 0, done.stdout
        assert not file.exists()
