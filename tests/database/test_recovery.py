"""`database.wal` with the real barman-cloud, a real S3 server and PostgreSQL 18: recovers what was archived, as of a
point in time. The store's settings are those that the program writes; there are no operator pods."""

from __future__ import annotations

import gzip
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from rehearsal.pods.postgres import PostgresError, PostgresServer
from tests.database.archive import Archive, Recovered, archiving, interpreter, programs
from tests.database.pod import Pod
from tests.database.r2_endpoint import r2_endpoint
from tests.database.s3_server import S3Server, s3_server
from tests.unit.program import run
from tests.unit.test_wal_archive import BUCKET, ENGINE, VALUES
from tests.unit.test_wal_bucket import MADE as MADE_IN_R2

ARCHIVE: Final = "invoicetron-db"
BACKUP: Final = "backup-20261127010000"  # as the plugin names them
COUNT: Final = "SELECT count(*) FROM invoices"
NOW: Final = "SELECT clock_timestamp()"


def store(s3: S3Server) -> dict[str, Any]:
    """The ObjectStore that the program makes for this bucket."""
    changes = {**ENGINE, "database.wal": {"s3": {**BUCKET, "bucket": s3.bucket, "region": "us-east-1"}}}
    spec: dict[str, Any] = run("prod", changes, values=VALUES).one("ObjectStore").inputs["spec"]
    return spec


@pytest.fixture(scope="module")
def archive(server: PostgresServer, s3: S3Server) -> Archive:
    directory = server.directory / "barman"  # not pytest's, which only root can reach
    return Archive(
        programs=programs(directory / "programs"),
        python=interpreter(directory / "python", server.account),
        store=store(s3),
        s3=s3,
        name=ARCHIVE,
    )


def archive_log(server: PostgresServer, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs archive-log.sh as a Job of `ops restore --to` does."""
    directory = server.directory / "pod"
    directory.mkdir(exist_ok=True)
    return Pod(server, directory).run("archive-log.sh", **variables)


@pytest.fixture(scope="module")
def moments(archive: Archive) -> Iterator[dict[str, str]]:
    """Times of a server that is then lost: it had 100 invoices in its base backup, later 150, and 10 at the end."""
    with PostgresServer() as server:
        assert archive.is_empty(server)
        server.settings |= archiving(archive, server.directory)
        server.restart()
        server.sql("CREATE TABLE invoices (id serial PRIMARY KEY, note text)")
        server.sql("INSERT INTO invoices (note) SELECT 'customer of invoice ' || n FROM generate_series(1, 100) AS n")
        archive.back_up(server, BACKUP)
        server.sql("INSERT INTO invoices (note) SELECT 'later' FROM generate_series(1, 50)")
        found = {"all is well": server.sql(NOW)}
        server.sql("DELETE FROM invoices WHERE id > 10")
        done = archive_log(server, PATIENCE="60")
        assert done.returncode == 0, done.stdout
        assert not archive.is_empty(server)
        found["too late"] = server.sql(NOW)
        server.kill()
        yield found


def test_rows_are_as_they_were_at_the_moment(archive: Archive, moments: dict[str, str]) -> None:
    with Recovered(archive, BACKUP, at=moments["all is well"]) as server:
        server.promoted()
        assert server.sql(COUNT) == "150"
        server.sql("INSERT INTO invoices (note) VALUES ('written after the recovery')")


def test_without_a_moment_everything_that_was_archived_comes_back(archive: Archive, moments: dict[str, str]) -> None:
    assert moments
    with Recovered(archive, BACKUP) as server:
        server.promoted()
        assert server.sql(COUNT) == "10"


def test_a_moment_after_the_last_archived_commit_is_refused_by_postgresql(
    archive: Archive, moments: dict[str, str]
) -> None:
    """So `ops restore --to` first makes the live server write and archive a commit (archive-log.sh)."""
    server = Recovered(archive, BACKUP, at=moments["too late"])
    with pytest.raises(PostgresError, match="recovery ended before configured recovery target was reached"), server:
        server.promoted()


def test_a_new_database_finds_the_archive_of_the_lost_one_taken(archive: Archive, moments: dict[str, str]) -> None:
    """Which is why `database.lostClaim` requires `database.wal.archive`."""
    assert moments
    with PostgresServer() as server:
        assert not archive.is_empty(server)
        assert replace(archive, name="second").is_empty(server)


def test_whoever_reads_the_bucket_reads_the_database(archive: Archive, moments: dict[str, str]) -> None:
    """As docs/decisions/31 says: nothing is encrypted on this side, whatever is asked of the endpoint."""
    assert moments
    assert archive.configuration["wal"]["encryption"] == "AES256"
    folder = archive.s3.folder / archive.s3.bucket / "wal" / "invoicetron-prod" / ARCHIVE / "wals"
    segments = [gzip.decompress(file.read_bytes()) for file in folder.rglob("*.gz")]
    assert any(b"customer of invoice 42" in segment for segment in segments)


def test_a_log_that_is_not_archived_is_told() -> None:
    with PostgresServer(settings={"archive_mode": "on", "archive_command": "false", "wal_level": "logical"}) as server:
        done = archive_log(server, PATIENCE="3")
    assert done.returncode == 1
    assert "FAILED: the write-ahead log is not archived; the last failure was at 20" in done.stdout


def test_r2_takes_what_is_archived_and_a_lock_would_stop_it(archive: Archive, tmp_path: Path) -> None:
    """docs/decisions/33: parts of one size, no header that requests encryption, and segments that come twice."""
    bucket = {**MADE_IN_R2, "r2": {**MADE_IN_R2["r2"], "bucket": "homelab-backups"}}
    spec = run("prod", {**ENGINE, "database.wal": {"s3": bucket}}).one("ObjectStore").inputs["spec"]
    with s3_server(tmp_path, region="auto") as s3, r2_endpoint(s3) as r2, PostgresServer() as server:
        made = replace(archive, store=spec, s3=replace(s3, port=r2.port), region="auto")
        server.settings |= archiving(made, server.directory)
        server.restart()
        (server.data / "noise").write_bytes(os.urandom(48 * 2**20))  # more than two of barman's parts
        made.back_up(server, BACKUP)
        assert BACKUP in made.backups(server)
        assert max(map(len, r2.parts.values())) == 3

        segment = server.sql("SELECT last_archived_wal FROM pg_stat_archiver")
        assert not made.upload(server, segment).returncode
        r2.is_locked = True
        refused = made.upload(server, segment)
        assert refused.returncode
        assert "ObjectLockedByBucketPolicy" in refused.stderr
