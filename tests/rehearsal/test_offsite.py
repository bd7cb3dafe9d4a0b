"""Off-site copies of a deployed stack: the Jobs of upload and fetch, with real restic, S3 server and PostgreSQL."""

from __future__ import annotations

import datetime as dt
import getpass
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import httpx
import pytest

from ops.clients import load_settings
from ops.verify.backups import CHECKS
from ops.verify.check import examine
from ops.verify.systems import Systems
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.pods.postgres import DATABASE
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools
from tests.database.invoices import databases
from tests.database.s3_server import S3Server, s3_server
from tests.rehearsal.backed_up import BackedUp
from tests.rehearsal.cleanup import rehearsed
from tests.rehearsal.stack_files import LATER
from tests.stacks import PROD

HOST: Final = "s3.example.com"
ITEM: Final = "Invoicetron Off-site"
COUNTS: Final = "SELECT (SELECT count(*) FROM invoices), (SELECT count(*) FROM invoice_items)"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


def offsite(s3: S3Server) -> Mapping[str, str]:
    """The settings of a stack file for this bucket."""
    keys = {"accessKey": "access-key", "secretKey": "secret-key", "password": "password"}
    return {
        "backup.s3.endpoint": f"https://{HOST}",
        "backup.s3.bucket": s3.bucket,
        "backup.s3.schedule": LATER,
        **{f"backup.s3.{setting}": f"op://Kubernetes/{ITEM}/{field}" for setting, field in keys.items()},
    }


def lead(control_plane: ControlPlane, s3: S3Server) -> None:
    """Makes the endpoint answer in this cluster from now on."""
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


def test_a_backup_that_only_the_bucket_still_has_is_restored_by_name(stack: BackedUp) -> None:
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


def test_the_list_shows_every_backup_and_whether_a_drill_has_restored_it(stack: BackedUp) -> None:
    (backup,) = (name for name in stack.backups() if name.startswith("invoicetron-"))
    log = stack.run(PROD.offsite_drill, "offsite-drill-by-hand")
    assert f"{backup} restores completely" in log
    assert "fetched" not in log, "each container has its own log"
    here, there = stack.ops("backups list"), stack.ops("backups list", "--target", "s3")
    for done in (here, there):
        assert done.returncode == 0, done.stdout
        (line,) = (line for line in done.stdout.splitlines() if line.startswith(backup))
        assert all(each in line for each in (" MB", "20250601000000_items", "dev:1a2b3c4d", getpass.getuser()))
        assert line.rstrip().endswith(" ago") == (done is there), "the backup on the volume has not been drilled"
    assert "before-restore-" in here.stdout
    assert "before-restore-" not in there.stdout


def test_verify_says_how_old_the_copies_are_and_what_was_restored(
    stack: BackedUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(stack.rehearsal.program.directory)
    for name in ("KUBECONFIG",):
        monkeypatch.setenv(name, stack.rehearsal.program.environment[name])
    with httpx.Client() as http:
        systems = Systems(load_settings(stack.stack), http=http)
        results = {check.name: examine(check, systems) for check in CHECKS}
    (backup,) = (name for name in stack.backups() if name.startswith("invoicetron-"))
    assert results["upload"].seen.endswith(f": {backup} has its copy")
    assert f": {backup} from s3, " in results["offsite-drill"].seen
    assert results["offsite-drill"].ok
    assert results["offsite-check"].seen == "invoicetron-db-offsite-check has never succeeded"


def test_a_copy_can_be_inspected_beside_the_live_database_while_the_app_runs(stack: BackedUp) -> None:
    now, generation = stack.content(), stack.deployment()["metadata"]["generation"]
    look = f"{DATABASE}_look_lost_invoice"
    at = f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S}"
    done = stack.ops("restore", "--from", f"s3:{at}", "--into", "lost_invoice")
    assert done.returncode == 0, done.stdout
    assert f" is the newest backup of {at} UTC or before: " in done.stdout
    (way,) = (line.partition(" -- ")[2] for line in done.stdout.splitlines() if " psql " in line)
    program, *options = shlex.split(way)
    asked = stack.server.run([stack.server.bin / program, *options, "-XqAt", "-c", COUNTS], stdout=subprocess.PIPE)
    assert asked.stdout.strip() == "500|1000"
    assert stack.ops("restore", "--from", at, "--into", "lost_invoice").returncode == 1
    discard = done.stdout.splitlines()[-1].partition("--discard ")[2]
    assert stack.ops("restore", "--discard", discard).returncode == 0
    assert look not in databases(stack.server)
    assert stack.content() == now
    assert stack.deployment()["metadata"]["generation"] == generation
    assert not stack.running_jobs()


def test_an_unknown_name_or_time_is_answered_with_the_existing_copies_before_the_app_is_stopped(
    stack: BackedUp,
) -> None:
    now = stack.content()
    before = stack.deployment()["metadata"]["generation"]
    done = stack.ops("restore", "--from", "s3:invoicetron-999999-20260101T000000Z", "--yes")
    assert done.returncode == 1
    told = "The copy could not be fetched: invoicetron-999999-20260101T000000Z has no copy off-site; there are:\n"
    assert f"{told}{stack.backups()[-1]}" in done.stdout
    done = stack.ops("restore", "--from", "s3:2020-01-01 00:00", "--yes")
    assert done.returncode == 1
    assert "no backup off-site was taken at 2020-01-01 00:00:00 UTC or before; the nearest of " in done.stdout
    assert stack.content() == now
    assert stack.deployment()["metadata"]["generation"] == before


def test_everything_is_restored_from_1password_and_the_bucket_alone(
    tools: Tools, control_plane: ControlPlane, s3: S3Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prints how long it took. The first stack's namespaces, volumes, state, GitLab and Cloudflare are gone by then."""
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
        # The copies continue in the same repository.
        assert new.ops("backup").returncode == 0
        assert new.backups()[-1].startswith("invoicetron-000002-")
        assert "uploaded invoicetron-000002-" in new.run(PROD.upload, "upload-by-hand")
