"""`ops backup` and `ops restore`, end to end: real Jobs, whose pods run the real scripts against a real PostgreSQL."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from kubernetes.client import BatchV1Api, CoreV1Api

from ops.restore.app_stop import REPLICAS
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.engine import EngineError
from rehearsal.homelab import HOSTNAMES
from rehearsal.toolchain import Tools
from tests.database.pod import small_disk
from tests.pages import REPOSITORY, blocks
from tests.rehearsal.backed_up import CLAIM, BackedUp, until
from tests.rehearsal.cleanup import rehearsed
from tests.rehearsal.cuttable import Cuttable

RUNBOOK = REPOSITORY / "docs" / "runbook" / "backups.md"
CRON_JOBS = ("invoicetron-db-backup", "invoicetron-db-drill", "invoicetron-db-restore")


@pytest.fixture(scope="module")
def stack(tools: Tools, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackedUp]:
    """One stack for all of these tests; each refills its database."""
    with rehearsed(tools, control_plane, tmp_path_factory.mktemp("world") / "rehearsal") as one:
        backed_up = BackedUp(rehearsal=one)
        backed_up.begin()
        yield backed_up


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A backup, and the content of the database when it was taken."""

    name: str
    then: str


@pytest.fixture(scope="module")
def taken() -> list[Taken]:
    """The backups that the tests share: taking one would be most of a test's work."""
    return []


@pytest.fixture
def backup(stack: BackedUp, taken: list[Taken]) -> tuple[str, str, str]:
    """Name of a backup, its content, and the content to which the database has been changed since."""
    if taken and taken[-1].name in stack.backups():
        stack.load(stack.dump(taken[-1].name))
    else:
        then = stack.fill(count=20_000)
        done = stack.ops("backup")
        assert done.returncode == 0, done.stdout
        taken.append(Taken(name=[name for name in stack.backups() if name.startswith("invoicetron-")][-1], then=then))
    stack.server.sql("DELETE FROM invoice_items WHERE id % 2 = 0; CREATE TABLE payments (id integer)")
    return taken[-1].name, taken[-1].then, stack.content()


def test_a_backup_brings_the_database_back_and_leaves_the_app_as_it_was(
    stack: BackedUp, backup: tuple[str, str, str]
) -> None:
    name, then, _ = backup
    app = stack.app()
    done = stack.ops("restore", "--from", name, "--yes")
    assert done.returncode == 0, done.stdout
    assert stack.content() == then
    assert stack.app() == app
    assert not stack.running_jobs()
    assert "the restored data is in place" in done.stdout
    # Neither the next `up`, nor one that changes this very Deployment, finds anything of ours in it.
    assert not stack.rehearsal.program.up("dev", "--skip-preview").changes
    stack.rehearsal.configure("dev", "access.hostname", HOSTNAMES["dev"])
    assert stack.rehearsal.program.up("dev", "--skip-preview").changes["app"] == "update"
    assert "ops" not in json.dumps(stack.deployment()["metadata"])


def test_without_confirmation_nothing_is_touched(stack: BackedUp, backup: tuple[str, str, str]) -> None:
    name, _, now = backup
    before = stack.deployment()["metadata"]["generation"]
    done = stack.ops("restore", "--from", "latest")
    assert done.returncode == 1
    assert f"{name} is the newest backup on the volume; it is " in done.stdout
    assert all(said in done.stdout for said in ("Stack dev, namespace invoicetron-dev", f"the backup {name}", "[y/N]"))
    assert stack.content() == now
    assert stack.deployment()["metadata"]["generation"] == before


def test_a_dump_from_elsewhere_fills_a_new_database_and_logs_everybody_out(
    stack: BackedUp, backup: tuple[str, str, str], tmp_path: Path
) -> None:
    name, _, _ = backup
    file = tmp_path / "invoicetron-full-20260205.dump"
    file.write_bytes(stack.dump(name).read_bytes())
    stack.empty()
    expected = "invoices=20000,invoice_items=40000,products=39,user=1,_prisma_migrations=4"
    done = stack.ops("restore", "--from", str(file), "--expect", expected, "--clear-sessions", "--yes")
    assert done.returncode == 0, done.stdout
    counts = 'SELECT (SELECT count(*) FROM invoices), (SELECT count(*) FROM session), (SELECT count(*) FROM "user")'
    assert stack.server.sql(counts) == "20000|0|1"


def test_a_restore_with_unexpected_counts_is_discarded_and_every_difference_reported(
    stack: BackedUp, backup: tuple[str, str, str]
) -> None:
    name, _, now = backup
    done = stack.ops("restore", "--from", str(stack.dump(name)), "--expect", "invoices=567,user=2,products=39", "--yes")
    assert done.returncode == 1
    last = "".join(done.stdout.splitlines(keepends=True)[-3:])
    assert last == (
        "The restore has failed: what was restored is not what is expected:\n"
        "table invoices: 567 rows expected, 20000 found\n"
        "table user: 2 rows expected, 1 found\n"
    )
    assert stack.content() == now
    assert stack.app() == (1, 1)


def test_an_unknown_backup_name_is_answered_with_those_that_exist(
    stack: BackedUp, backup: tuple[str, str, str]
) -> None:
    name, _, now = backup
    done = stack.ops("restore", "--from", "invoicetron-999999-20260101T000000Z", "--yes")
    assert done.returncode == 1
    assert f"is no backup; there are:\n{name}" in done.stdout.rpartition("The restore has failed: ")[2]
    assert stack.content() == now
    assert stack.app() == (1, 1)


def test_a_file_that_is_no_dump_is_refused_before_the_app_is_stopped(stack: BackedUp, tmp_path: Path) -> None:
    file = tmp_path / "backup.sql"
    file.write_text("CREATE TABLE invoices (id integer);")
    before = stack.deployment()["metadata"]["generation"]
    done = stack.ops("restore", "--from", str(file), "--expect", "invoices", "--yes")
    assert done.returncode == 1
    assert "no dump in pg_dump's custom format" in done.stdout
    assert "--expect: 'invoices' is not table=rows" in done.stdout
    assert stack.deployment()["metadata"]["generation"] == before


@pytest.mark.parametrize(
    ("signal_", "moment"),
    [
        (signal.SIGTERM, "stopping the app"),
        (signal.SIGINT, " restores "),
        (signal.SIGHUP, "sending "),
        (signal.SIGINT, "restoring beside the old data"),
        (signal.SIGINT, "starting the app"),
    ],
)
def test_an_interrupted_restore_leaves_the_old_or_the_new_data_and_a_running_app(
    stack: BackedUp, backup: tuple[str, str, str], signal_: signal.Signals, moment: str
) -> None:
    name, then, now = backup
    with stack.started("restore", "--from", str(stack.dump(name)), "--yes") as process:
        said = until(process.stdout, moment)
        process.send_signal(signal_)
        rest, _ = process.communicate(timeout=240)
    finished = process.returncode == 0
    # A restore in progress may finish before the command handles the signal, and then it has succeeded.
    possible = {"starting the app": {0}, "restoring beside the old data": {0, 128 + signal_}}
    assert process.returncode in possible.get(moment, {128 + signal_}), said + rest
    assert "The app runs again: 1 of 1" in rest
    assert stack.app() == (1, 1)
    assert not stack.running_jobs()
    assert stack.content() in ({then} if finished else {then, now})


def test_a_restore_is_followed_to_its_end_even_if_the_connection_is_lost_meanwhile(
    stack: BackedUp, backup: tuple[str, str, str], tmp_path: Path
) -> None:
    name, then, _ = backup
    with (
        Cuttable(stack.rehearsal.control_plane) as way,
        stack.started("restore", "--from", name, "--yes", KUBECONFIG=way.kubeconfig(tmp_path)) as process,
    ):
        job = until(process.stdout, " restores ").splitlines()[-1].split()[0]
        way.cut()
        waited = ("wait", f"job/{job}", "--for=condition=Complete", "--timeout=120s")
        stack.rehearsal.kubectl("-n", stack.namespace, *waited)
        assert stack.app() == (0, 0)
        way.mend()
        rest, _ = process.communicate(timeout=240)
    assert process.returncode == 0, rest
    assert "the restored data is in place" in rest
    assert stack.content() == then
    assert stack.app() == (1, 1)


@contextmanager
def half_sent(stack: BackedUp, file: Path, directory: Path) -> Iterator[tuple[Cuttable, subprocess.Popen[str]]]:
    """A restore of the file whose connection is cut in the middle of the upload."""
    with (
        Cuttable(stack.rehearsal.control_plane, after=file.stat().st_size // 2) as way,
        stack.started("restore", "--from", str(file), "--yes", KUBECONFIG=way.kubeconfig(directory)) as process,
    ):
        assert way.refused.acquire(timeout=120), "the connection was never cut"
        yield way, process


def test_a_file_whose_upload_is_cut_off_is_not_restored_and_the_app_runs_once_the_server_answers(
    stack: BackedUp, backup: tuple[str, str, str], tmp_path: Path
) -> None:
    name, _, now = backup
    file = stack.dump(name)
    with half_sent(stack, file, tmp_path) as (way, process):
        assert stack.app() == (0, 0)
        way.mend()
        rest, _ = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "the file did not arrive in the pod" in rest
    assert stack.content() == now
    assert stack.app() == (1, 1)
    assert not stack.running_jobs()


def test_a_killed_restore_keeps_up_from_starting_the_app_until_the_next_restore_finishes(
    stack: BackedUp, backup: tuple[str, str, str], tmp_path: Path
) -> None:
    name, then, now = backup
    file = stack.dump(name)
    # The cut keeps the file from arriving before the kill: the pod then waits for the rest of it.
    with half_sent(stack, file, tmp_path) as (_, process):
        process.kill()
        process.wait()
    assert stack.app() == (0, 0)
    assert stack.content() == now
    assert stack.deployment()["metadata"]["annotations"][REPLICAS] == "1"
    with pytest.raises(EngineError, match="invoicetron-ops"):
        stack.rehearsal.program.up("dev")
    assert stack.app() == (0, 0)

    done = stack.ops("restore", "--from", name, "--yes")
    assert done.returncode == 0, done.stdout
    assert "of an earlier restore still runs, and is ended first" in done.stdout
    assert "as it had before an earlier restore stopped it" in done.stdout
    assert stack.content() == then
    assert stack.app() == (1, 1)
    assert not stack.running_jobs()
    assert not stack.rehearsal.program.up("dev", "--skip-preview").changes


def test_a_restore_is_refused_while_a_migration_runs_and_works_after_the_command_in_the_message(
    stack: BackedUp, backup: tuple[str, str, str]
) -> None:
    name, then, now = backup
    before = stack.deployment()["metadata"]["generation"]
    # The template's image is the placeholder, with which no pod starts: the Job does not end.
    made = ("create", "job", "invoicetron-migrate-1a2b3c4d", "--from=cronjob/invoicetron-migrate")
    stack.rehearsal.kubectl("-n", stack.namespace, *made)
    done = stack.ops("restore", "--from", name, "--yes")
    assert done.returncode == 1, done.stdout
    assert "a migration runs, or waits for its second attempt" in done.stdout
    assert "Stack dev, namespace" not in done.stdout, "the user was asked first"
    assert stack.content() == now
    assert stack.deployment()["metadata"]["generation"] == before
    beside = stack.ops("restore", "--from", name, "--into", "lost")
    assert beside.returncode == 0, beside.stdout

    (command,) = (line for line in done.stdout.splitlines() if "kubectl" in line)
    stack.rehearsal.kubectl(*shlex.split(command)[1:])
    done = stack.ops("restore", "--from", name, "--yes")
    assert done.returncode == 0, done.stdout
    assert stack.content() == then
    assert stack.app() == (1, 1)
    assert stack.ops("restore", "--discard", "lost").returncode == 0


def test_a_drill_restores_the_newest_backup_in_a_separate_pod(stack: BackedUp, backup: tuple[str, str, str]) -> None:
    name, _, now = backup
    stack.rehearsal.kubectl("-n", stack.namespace, "create", "job", "drill-now", "--from=cronjob/invoicetron-db-drill")
    waited = ("wait", "job/drill-now", "--for=condition=Complete", "--timeout=120s")
    stack.rehearsal.kubectl("-n", stack.namespace, *waited)
    log = stack.rehearsal.kubectl("-n", stack.namespace, "logs", "job/drill-now")
    assert f"{name} restores completely" in log
    assert stack.content() == now


@pytest.mark.parametrize("cron_job", CRON_JOBS)
def test_the_jobs_cause_no_warnings_at_the_restricted_level(stack: BackedUp, cron_job: str) -> None:
    def warnings(*, privileged: bool) -> list[str]:
        with stack.rehearsal.client as client:
            batch: Any = BatchV1Api(client)
            core: Any = CoreV1Api(client)
            template = client.sanitize_for_serialization(
                batch.read_namespaced_cron_job(cron_job, stack.namespace).spec.job_template
            )
            (container,) = template["spec"]["template"]["spec"]["containers"]
            if privileged:
                container["securityContext"]["allowPrivilegeEscalation"] = True
            metadata = {"name": "dry-run"}
            bodies = {
                batch.create_namespaced_job_with_http_info: {"metadata": metadata, "spec": template["spec"]},
                core.create_namespaced_pod_with_http_info: {
                    "metadata": metadata,
                    "spec": template["spec"]["template"]["spec"],
                },
            }
            heads = [create(stack.namespace, body, dry_run="All")[2] for create, body in bodies.items()]
            return [head["Warning"] for head in heads if "Warning" in head]

    assert warnings(privileged=False) == []
    told = warnings(privileged=True)
    assert len(told) == 2
    assert all("restricted" in warning for warning in told)


@contextmanager
def soon_measured(stack: BackedUp) -> Iterator[None]:
    """Backups wait seconds instead of minutes for a kubelet to measure a volume that is nearly full."""
    variable = ("-n", stack.namespace, "set", "env", "cronjob/invoicetron-db-backup")
    stack.rehearsal.kubectl(*variable, "SEEN_SECONDS=2")
    try:
        yield
    finally:
        stack.rehearsal.kubectl(*variable, "SEEN_SECONDS-")


def test_a_good_backup_on_a_nearly_full_volume_is_reported_as_good(stack: BackedUp) -> None:
    stack.fill()
    volume = stack.rehearsal.control_plane.pods.volume(stack.namespace, CLAIM)
    with small_disk(volume, 32 << 20), soon_measured(stack):
        volume.chmod(0o777)
        (volume / "kept").mkdir()
        (volume / "kept" / "rows").write_bytes(b"x" * (26 << 20))
        done = stack.ops("backup")
        assert done.returncode == 3, done.stdout
        assert done.stdout.splitlines()[-1].startswith("the backup is good, but its volume is ")
        assert len(stack.backups()) == 2, "the backup is missing"
    job = f"job/{done.stdout.split()[0]}"
    stack.rehearsal.kubectl("-n", stack.namespace, "wait", job, "--for=condition=Complete", "--timeout=1s")


def test_an_unreadable_database_is_moved_aside_and_restored_as_the_runbook_says(
    stack: BackedUp, backup: tuple[str, str, str]
) -> None:
    name, then, _ = backup
    (block,) = (each for each in blocks(RUNBOOK) if "invoicetron_damaged" in each.text)
    moved = block.text.replace("\\\n", " ").splitlines()[0]
    _, _, *psql = shlex.split(moved.partition(" exec ")[2])
    stack.server.sql("CHECKPOINT")
    (stack.server.data / stack.server.sql("SELECT pg_relation_filepath('invoices')")).unlink()
    done = stack.ops("restore", "--from", name, "--yes")
    assert done.returncode == 1
    assert "the rows of the old data cannot be counted" in done.stdout
    with psycopg.connect(stack.server.url):  # the app
        stack.server.run([stack.server.bin / psql[0], *psql[1:]])
    done = stack.ops("restore", "--from", name, "--yes")
    assert done.returncode == 0, done.stdout
    assert "the database is empty: nothing to save" in done.stdout
    assert stack.content() == then
    stack.server.sql("DROP DATABASE invoicetron_damaged", database="postgres")


def test_a_failing_backup_is_retried_by_its_job_and_ends_with_the_reason(stack: BackedUp) -> None:
    stack.fill()
    stack.server.sql("DROP DATABASE invoicetron WITH (FORCE)", database="postgres")
    before = stack.backups()
    done = stack.ops("backup")
    assert done.returncode == 1
    assert done.stdout.count("dumping invoicetron") == 3
    assert done.stdout.splitlines()[-1].startswith("No backup: no backup was taken: the dump failed")
    assert stack.backups() == before


def test_ops_backup_creates_the_job_that_kubectl_would_create(stack: BackedUp) -> None:
    def essence(job: dict[str, Any]) -> dict[str, Any]:
        spec, metadata = job["spec"], job["metadata"]
        template = spec["template"]["metadata"]
        for generated, holder in (("selector", spec), ("creationTimestamp", template)):
            holder.pop(generated, None)
        unlike = ("job-name", "controller-uid")
        (container,) = spec["template"]["spec"]["containers"]
        # kubectl knows neither who takes it, nor the app's image.
        container["env"] = [one for one in container["env"] if one["name"] not in {"TAKEN_BY", "IMAGE"}]
        template["labels"] = {key: value for key, value in template["labels"].items() if not key.endswith(unlike)}
        return {"spec": spec, "owners": metadata["ownerReferences"], "annotations": metadata["annotations"]}

    def kubectl(*arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(stack.rehearsal.kubectl("-n", stack.namespace, *arguments, "-o", "json"))
        return found

    stack.fill()
    said = stack.ops("backup").stdout
    ours = kubectl("get", "job", said.split()[0])
    theirs = kubectl("create", "job", "theirs", "--from=cronjob/invoicetron-db-backup", "--dry-run=server")
    assert essence(ours) == essence(theirs)
