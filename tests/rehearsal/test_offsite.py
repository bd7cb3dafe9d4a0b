"""Off-site copies of a deployed stack: the Jobs of upload and fetch, with real restic, S3 server and PostgreSQL."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools
from tests.database.s3_server import S3Server, s3_server
from tests.rehearsal.backed_up import BackedUp
from tests.rehearsal.cleanup import rehearsed
from tests.stacks import PROD

HOST: Final = "s3.example.com"
ITEM: Final = "Invoicetron Off-site"
COUNTS: Final = "SELECT (SELECT count(*) FROM invoices), (SELECT count(*) FROM invoice_items)"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def offsite(s3: S3Server) -> Mapping[str, str]:
    """What a stack file has for this bucket."""
    keys = {"accessKey": "access-key", "secretKey": "secret-key", "password": "password"}
    return {
        "backup.s3.endpoint": f"https://{HOST}",
        "backup.s3.bucket": s3.bucket,
        **{f"backup.s3.{setting}": f"op://Kubernetes/{ITEM}/{field}" for setting, field in keys.items()},
    }


def lead(control_plane: ControlPlane, s3: S3Server) -> None:
    """From now on the endpoint answers in this cluster."""
    control_plane.pods.endpoints[HOST] = f"http://127.0.0.1:{s3.port}"


def fill_in(rehearsal: Rehearsal, s3: S3Server) -> None:
    """Puts the bucket's keys and the copies' password into 1Password."""
    keys = {"access-key": s3.access_key, "secret-key": s3.secret_key, "password": "a password of the off-site copies"}
    rehearsal.onepassword.put(ITEM, keys)


@pytest.fixture(scope="module")
def stack(
    tools: Tools, control_plane: ControlPlane, s3: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BackedUp]:
    with rehearsed(tools, control_plane, tmp_path_factory.mktemp("world") / "rehearsal") as one:
        fill_in(one, s3)
        lead(control_plane, s3)
        backed_up = BackedUp(rehearsal=one)
        backed_up.begin(offsite(s3))
        yield backed_up


def test_a_backup_that_only_the_bucket_still_has_comes_back_by_its_name(stack: BackedUp) -> None:
    then = stack.fill()
    assert stack.ops("backup").returncode == 0
    (backup,) = stack.backups()
    assert f"uploaded {backup}" in stack.run(PROD.upload, "upload-by-hand")
    stack.server.sql("DELETE FROM invoice_items")
    shutil.rmtree(stack.dump(backup).parent)
    done = stack.ops("restore", "--from", f"s3:{backup}", "--yes")
    assert done.returncode == 0, done.stdout
    assert stack.content() == then
    assert stack.app() == (1, 1)
    assert backup in stack.backups(), "the copy is on the volume again"
    assert "every backup has its copy" in stack.run(PROD.upload, "upload-again")
    assert not stack.rehearsal.program.up("dev", "--skip-preview").changes


def test_the_name_of_no_copy_is_answered_with_those_that_exist_before_the_app_is_stopped(stack: BackedUp) -> None:
    now = stack.content()
    before = stack.deployment()["metadata"]["generation"]
    done = stack.ops("restore", "--from", "s3:invoicetron-999999-20260101T000000Z", "--yes")
    assert done.returncode == 1
    told = "The copy could not be fetched: invoicetron-999999-20260101T000000Z has no copy off-site; there are:\n"
    assert f"{told}{stack.backups()[-1]}" in done.stdout
    assert stack.content() == now
    assert stack.deployment()["metadata"]["generation"] == before


def test_everything_comes_back_where_only_1password_and_the_bucket_are_left(
    tools: Tools, control_plane: ControlPlane, s3: S3Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Says how long it took. Namespaces, volumes, state, GitLab and Cloudflare of the first stack are gone by then."""
    lead(control_plane, s3)
    with rehearsed(tools, control_plane, tmp_path / "before") as one:
        fill_in(one, s3)
        old = BackedUp(rehearsal=one, stack="prod")
        old.prepare(offsite(s3))
        then = old.fill(count=20_000)
        counts = old.server.sql(COUNTS)
        assert old.ops("backup").returncode == 0
        old.run(PROD.upload, "upload-by-hand")
    with rehearsed(tools, control_plane, tmp_path / "after", onepassword=one.onepassword) as two:
        new = BackedUp(rehearsal=two, stack="prod")
        started = time.monotonic()
        new.prepare(offsite(s3))
        assert new.server.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"
        up = time.monotonic()
        done = new.ops("restore", "--from", "s3:latest", "--yes")
        assert done.returncode == 0, done.stdout
        restored = time.monotonic()
        assert new.server.sql(COUNTS) == counts
        assert new.content() == then
        with capsys.disabled():
            took = f"{restored - started:.0f} s: up {up - started:.0f} s, restore {restored - up:.0f} s"
            print(f"\nback from nothing in {took}")
        # The copies go on in the same repository.
        assert new.ops("backup").returncode == 0
        assert new.backups()[-1].startswith("invoicetron-000002-")
        assert "uploaded invoicetron-000002-" in new.run(PROD.upload, "upload-by-hand")
