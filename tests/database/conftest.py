"""A real PostgreSQL 18 and a pod beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from rehearsal import optional_tools
from rehearsal.pods.postgres import PostgresServer
from tests.database.invoices import databases, fill
from tests.database.pod import Pod
from tests.database.s3_server import S3Server, s3_server


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """One server for the tests that leave it as they find it."""
    with PostgresServer() as started:
        yield started


@pytest.fixture
def pod(server: PostgresServer) -> Iterator[Pod]:
    """A pod with an empty backup volume beside an empty database."""
    # The session shares the server: databases that an earlier file's tests have left on it are not for this test.
    for name in set(databases(server)) - {"postgres"}:
        server.sql(f'DROP DATABASE "{name}" WITH (FORCE)', database="postgres")
    server.sql("CREATE DATABASE invoicetron", database="postgres")
    # Not pytest's tmp_path: only root can reach it, and the scripts do not run as root.
    directory = server.directory / "pod"
    directory.mkdir()
    yield Pod(server, directory)
    shutil.rmtree(directory)


@pytest.fixture
def backup(pod: Pod, server: PostgresServer) -> str:
    """Name of a backup of a database that has changed since: fewer rows, and a new table that refers to an old one."""
    fill(server)
    server.sql("ANALYZE")
    done = pod.run("backup.sh")
    assert done.returncode == 0, done.stdout
    server.sql("DELETE FROM invoice_items WHERE id > 100; CREATE TABLE payments (invoice integer REFERENCES invoices)")
    return pod.names()[0]


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def offsite(pod: Pod, s3: S3Server, request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of an off-site pod whose repository does not exist yet; restic is among its programs."""
    shutil.copy(optional_tools.restic(), pod.directory / "bin" / "restic")
    scratch = pod.folder(pod.directory / "tmp")
    prefix = request.node.name.replace("[", "-").replace("]", "").replace(" ", "-")
    return {**s3.environment(prefix), "TMPDIR": str(scratch), "RESTIC_CACHE_DIR": str(scratch / "cache")}
