"""The jobs of the app's pipeline deploy into the rehearsal's cluster with what `up` gave GitLab."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from lookups.database_claims import STOPPED_BY
from ops.kube.cluster import OPS
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools
from tests.database.invoices import fill
from tests.rehearsal.app_deployed import (
    BACKUP,
    NAMESPACE,
    PATCH,
    REGISTRY,
    Deployed,
    backups,
    dev_up,
    migrations_succeed,
    released,
)
from tests.rehearsal.app_served import HOST, app


@pytest.fixture(scope="module")
def stack(tools: Tools, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """The stack dev, brought up once for all tests here; each deploys its own commit."""
    with dev_up(tools, control_plane, tmp_path_factory.mktemp("pipeline") / "rehearsal") as one:
        yield one


@pytest.fixture
def deployed(stack: Rehearsal, tmp_path: Path) -> Deployed:
    return Deployed(stack, tmp_path / "app")


def test_the_deploy_job_migrates_and_rolls_out_the_commit_s_image(deployed: Deployed) -> None:
    commit = deployed.repository.commit()
    passed, output = deployed.job("deploy:development")
    assert passed, output
    assert deployed.image == f"{REGISTRY}:{commit}"
    job = deployed.get("job", f"invoicetron-migrate-{commit}")
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == f"{REGISTRY}:{commit}"
    assert container["env"][0]["valueFrom"]["secretKeyRef"]["key"] == "database-url"
    assert deployed.get("deployment", "invoicetron")["status"]["readyReplicas"] == 1


def test_the_image_is_owned_by_a_field_manager_that_up_respects(deployed: Deployed) -> None:
    passed, output = deployed.job("deploy:development")
    assert passed, output
    managed = deployed.get("deployment", "invoicetron", "--show-managed-fields")["metadata"]["managedFields"]
    owners = {
        each["manager"] for each in managed if '"f:image"' in json.dumps(each["fieldsV1"]) and "subresource" not in each
    }
    assert "gitlab-ci" in owners
    assert not {owner for owner in owners if owner.startswith("kubectl")}


def test_a_job_run_again_for_the_same_commit_passes_again(deployed: Deployed) -> None:
    for _ in range(2):
        passed, output = deployed.job("deploy:development")
        assert passed, output


def test_a_failed_migration_fails_the_job_and_leaves_the_old_version_running(deployed: Deployed) -> None:
    passed, output = deployed.job("deploy:development")
    assert passed, output
    before = deployed.image
    # As if somebody were impatient: the migration gets one second, and its pod's image cannot be pulled.
    deployed.give_migrations(seconds=1)
    passed, output = deployed.job("deploy:development", CI_COMMIT_SHORT_SHA="placeholder")
    deployed.give_migrations(seconds=600)
    assert not passed
    assert "The migration failed; its log is above" in output
    assert "prisma migrate resolve" in output
    assert "the backup from before it" in output
    assert deployed.image == before


def tag_of(image: str) -> str:
    return image.partition("@")[0].rpartition(":")[2]


def test_a_rollback_returns_to_the_image_before_and_never_to_one_that_failed_or_was_left(deployed: Deployed) -> None:
    images: list[str] = []
    for _ in range(3):
        if len(images) == 2:
            with migrations_succeed(deployed.rehearsal):
                failing = {"CI_COMMIT_SHORT_SHA": "another-placeholder", "ROLLOUT_TIMEOUT": "5s"}
                _, output = deployed.job("deploy:development", **failing)
            assert f"Going back to {images[1]}" in output
        deployed.repository.commit()
        passed, output = deployed.job("deploy:development")
        assert passed, output
        images.append(deployed.image)
    migrations = deployed.get("jobs", "--selector=app=invoicetron-migrate")["items"]
    page = deployed.rehearsal.gitlab.project.deployments
    assert str(page.shown("development")).startswith(tag_of(images[2]))
    for earlier in (images[1], images[0]):
        deployed.job("rollback:development")
        assert deployed.image == earlier
        assert str(page.shown("development")).startswith(tag_of(earlier)), "GitLab's page shows the image that runs"
    deployed.job("rollback:development", ROLLBACK_TAG=tag_of(images[2]))
    assert deployed.image == images[2]
    assert str(page.shown("development")).startswith(tag_of(images[2]))
    # A GitLab that is unreachable, or rejects the job, undoes nothing.
    _, output = deployed.job("rollback:development", CI_JOB_TOKEN="of-another-job")
    assert deployed.image == images[0]
    assert "GitLab's page of development does not show it" in output
    assert len(deployed.get("jobs", "--selector=app=invoicetron-migrate")["items"]) == len(migrations), (
        "a rollback migrates nothing"
    )


def test_a_rollback_to_an_image_that_does_not_become_ready_changes_nothing(deployed: Deployed) -> None:
    passed, output = deployed.job("deploy:development")
    assert passed, output
    before = deployed.image
    # The job is allowed to fail, so gitlab-ci-local counts it as passed either way.
    _, output = deployed.job("rollback:development", ROLLBACK_TAG="placeholder", ROLLOUT_TIMEOUT="5s")
    assert "does not become ready, so" in output
    assert deployed.image == before


def test_a_backup_is_complete_before_the_migration_begins(deployed: Deployed) -> None:
    fill(deployed.database, count=5)
    commit = deployed.repository.commit()
    passed, output = deployed.job("deploy:development", BACKUP=BACKUP)
    assert passed, output
    assert output.index(" is complete") < output.index("Migrating the database")
    backup = deployed.jobs_of(BACKUP)[-1]
    migration = deployed.get("job", f"invoicetron-migrate-{commit}")
    assert backup["status"]["completionTime"] <= migration["metadata"]["creationTimestamp"]


def test_a_backup_that_took_two_attempts_has_its_name_in_the_command_that_restores_it(deployed: Deployed) -> None:
    deployed.database.sql("CREATE TABLE IF NOT EXISTS kept (number int)")
    deployed.give_migrations(seconds=1)
    once = 'if mkdir "$BACKUPS/.tried"; then echo "no volume"; exit 1; fi; rmdir "$BACKUPS/.tried"; exec sh "$0"'
    container = {"name": "postgresql-client", "command": ["sh", "-c", once, "/scripts/backup.sh"]}
    try:
        with backups(deployed, spec={"template": {"spec": {"containers": [container]}}}):
            passed, output = deployed.job("deploy:development", BACKUP=BACKUP, CI_COMMIT_SHORT_SHA="placeholder")
    finally:
        deployed.give_migrations(seconds=600)
    assert not passed
    assert "no volume" in output, "the log of the first attempt is printed, too"
    (taken,) = re.findall(r"backup (\S+) is complete", output)
    command = f"python -m ops restore --stack dev --from {taken}"
    assert command in output, "the output says what to do if the migration stopped half-way"
    _, output = deployed.job("restore-command:development")
    assert command in output


def test_the_command_that_restores_the_backup_from_before_the_migration_is_printed(deployed: Deployed) -> None:
    deployed.database.sql("CREATE TABLE IF NOT EXISTS kept (number int)")
    names = []
    for _ in range(2):
        deployed.repository.commit()
        passed, output = deployed.job("deploy:development", BACKUP=BACKUP)
        assert passed, output
        names += re.findall(r"backup (\S+) is complete", output)
    # A backup taken by hand afterwards is not the one from before the migration.
    kubectl, later = deployed.rehearsal.kubectl, "invoicetron-db-backup-later"
    kubectl("-n", NAMESPACE, "create", "job", later, f"--from=cronjob/{BACKUP}")
    kubectl("-n", NAMESPACE, "wait", f"job/{later}", "--for=condition=Complete", "--timeout=120s")
    image = deployed.image
    _, output = deployed.job("restore-command:development")
    assert f"python -m ops restore --stack dev --from {names[1]}" in output
    assert names[0] not in output
    assert deployed.image == image


def test_without_a_pipeline_backup_the_job_says_how_to_list_the_backups(deployed: Deployed) -> None:
    deployed.delete_jobs(BACKUP)
    _, output = deployed.job("restore-command:development")
    assert "python -m ops backups list --stack dev" in output
    assert "ops restore" not in output


def test_without_its_backup_job_the_time_of_the_last_migration_is_named(deployed: Deployed) -> None:
    """The CronJob that owns the Job keeps the last three, and runs every hour."""
    deployed.repository.commit()
    passed, output = deployed.job("deploy:development")
    assert passed, output
    deployed.delete_jobs(BACKUP)
    _, output = deployed.job("restore-command:development")
    (*_, last) = deployed.jobs_of("invoicetron-migrate")
    assert f"The last migration began at {last['metadata']['creationTimestamp']}" in output


def test_the_first_deployment_finds_nothing_to_back_up(deployed: Deployed) -> None:
    server = deployed.database
    server.sql("DROP DATABASE IF EXISTS invoicetron WITH (FORCE)", database="postgres")
    server.sql("CREATE DATABASE invoicetron OWNER invoicetron", database="postgres")
    with backups(deployed, spec={"backoffLimit": 0}):
        passed, output = deployed.job("deploy:development", BACKUP=BACKUP)
    assert passed, output
    assert "There is nothing to back up yet." in output


def test_without_a_backup_there_is_no_migration_and_no_deployment(deployed: Deployed) -> None:
    passed, output = deployed.job("deploy:development")
    assert passed, output
    before = deployed.image
    commit = deployed.repository.commit()
    elsewhere = {"containers": [{"name": "postgresql-client", "env": [{"name": "PGDATABASE", "value": "nowhere"}]}]}
    with backups(deployed, spec={"backoffLimit": 0, "template": {"spec": elsewhere}}):
        passed, output = deployed.job("deploy:development", BACKUP=BACKUP)
    assert not passed
    assert "The backup failed, so the database was not migrated." in output
    assert 'database "nowhere" does not exist' in output
    assert f"invoicetron-migrate-{commit}" not in json.dumps(deployed.get("jobs"))
    assert deployed.image == before


RUN: Final = "upgrade-1a2b3c4d"
STOP: Final = json.dumps({"metadata": {"annotations": {STOPPED_BY: RUN}}, "spec": {"replicas": 0}})


def test_an_app_that_ops_has_stopped_gets_no_migration_and_no_other_image(deployed: Deployed) -> None:
    before, commit, kubectl = deployed.image, deployed.repository.commit(), deployed.rehearsal.kubectl
    with released(deployed):
        kubectl("-n", NAMESPACE, *PATCH, f"--field-manager={OPS}", f"--patch={STOP}")
        passed, deploy = deployed.job("deploy:development", BACKUP=BACKUP)
        assert not passed
        _, rollback = deployed.job("rollback:development", ROLLBACK_TAG="another")
        for output in (deploy, rollback):
            assert f"The app is stopped by {RUN}" in output
            assert "Then run this job again." in output
        assert deployed.image == before
        assert "Taking a backup" not in deploy
        assert f"invoicetron-migrate-{commit}" not in json.dumps(deployed.get("jobs"))
        # As ops advises if it could not start the app itself.
        kubectl("-n", NAMESPACE, "scale", "deployment/invoicetron", "--replicas=1")
        passed, output = deployed.job("deploy:development")
        assert passed, output


@pytest.mark.parametrize(
    ("after", "migrated"), [("create job invoicetron-db-backup", False), ("create --filename=-", True)]
)
def test_an_app_that_ops_stops_during_the_job_keeps_its_image(deployed: Deployed, after: str, migrated: bool) -> None:
    deployed.database.sql("CREATE TABLE IF NOT EXISTS kept (number int)")
    before, commit = deployed.image, deployed.repository.commit()
    kubectl = deployed.rehearsal.tools.kubectl
    stop = f"'{kubectl}' {' '.join(PATCH)} --field-manager={OPS} --patch='{STOP}' >&2"
    deployed.record("kubectl", then=f"""'{kubectl}' "$@" || exit\ncase "$*" in "{after}"*) {stop} ;; esac""")
    with released(deployed):
        passed, output = deployed.job("deploy:development", BACKUP=BACKUP)
    assert not passed
    assert f"The app is stopped by {RUN}" in output
    assert deployed.image == before
    assert (f"invoicetron-migrate-{commit}" in json.dumps(deployed.get("jobs"))) is migrated


def test_an_app_that_a_person_has_scaled_to_0_gets_no_other_image(deployed: Deployed) -> None:
    before, scale = deployed.image, ["-n", NAMESPACE, "scale", "deployment/invoicetron"]
    deployed.rehearsal.kubectl(*scale, "--replicas=0")
    try:
        passed, output = deployed.job("deploy:development")
    finally:
        deployed.rehearsal.kubectl(*scale, "--replicas=1")
    assert not passed
    assert "The app is scaled to 0 replicas" in output
    assert "run pulumi up" in output
    assert deployed.image == before


def test_an_app_without_a_deployment_is_migrated_before_the_job_misses_it(deployed: Deployed) -> None:
    commit = deployed.repository.commit()
    passed, output = deployed.job("deploy:development", APP_NAME="absent")
    assert not passed
    assert 'deployments.apps "absent" not found' in output
    assert f"invoicetron-migrate-{commit}" in json.dumps(deployed.get("jobs"))


def test_the_migrations_of_a_week_keep_their_logs(deployed: Deployed) -> None:
    """A second run after a failed migration fails with Prisma's P3009; the first one's log says why it failed."""
    kubectl, names = deployed.rehearsal.kubectl, [f"invoicetron-migrate-kept-{number}" for number in range(5)]
    deployed.give_migrations(seconds=1)  # too short for its pod, whose image cannot be pulled
    for number, name in enumerate(names):
        if number == 2:
            deployed.give_migrations(seconds=600)
        made = ["create", "job", name, "--from=cronjob/invoicetron-migrate", "--dry-run=client", "-o", "json"]
        job = json.loads(kubectl("-n", NAMESPACE, *made))
        if number >= 2:
            job["spec"]["template"]["spec"]["containers"][0]["image"] = f"{REGISTRY}:1234567{number}"
        kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=json.dumps(job))
        ended = "Failed" if number < 2 else "Complete"
        kubectl("-n", NAMESPACE, "wait", f"job/{name}", f"--for=condition={ended}", "--timeout=60s")
    # The controller cleans up a CronJob's history every ten seconds, and whenever one of its Jobs changes.
    time.sleep(12)
    left = kubectl("-n", NAMESPACE, "get", "jobs", "-l", "app=invoicetron-migrate", "-o", "name")
    assert [name for name in names if f"job.batch/{name}\n" not in left] == []


def test_a_failed_rollout_is_undone_and_fails_the_job_and_the_next_up_keeps_the_image(deployed: Deployed) -> None:
    passed, output = deployed.job("deploy:development")
    assert passed, output
    before = deployed.image
    # The image cannot be pulled: the migration is marked as succeeded, so that it is the rollout that fails.
    with migrations_succeed(deployed.rehearsal):
        passed, output = deployed.job("deploy:development", CI_COMMIT_SHORT_SHA="placeholder", ROLLOUT_TIMEOUT="5s")
    assert not passed
    assert f"Going back to {before}" in output
    assert deployed.image == before
    assert deployed.get("deployment", "invoicetron")["status"]["readyReplicas"] == 1
    deployed.rotate_and_up()
    assert deployed.image == before


def test_an_up_after_a_person_s_rollout_undo_keeps_the_image_that_runs(deployed: Deployed) -> None:
    for _ in range(2):
        deployed.repository.commit()
        passed, output = deployed.job("deploy:development")
        assert passed, output
    latest = deployed.image
    deployed.rehearsal.kubectl("-n", NAMESPACE, "rollout", "undo", "deployment/invoicetron")
    earlier = deployed.image
    assert earlier != latest
    deployed.rotate_and_up()
    assert deployed.image == earlier
    deployed.repository.commit()
    passed, output = deployed.job("deploy:development")
    assert passed, output
    assert deployed.image not in {earlier, latest}


def test_without_the_token_the_job_says_what_to_do(deployed: Deployed) -> None:
    passed, output = deployed.job("deploy:development", KUBE_TOKEN="")
    assert not passed
    assert "KUBE_TOKEN" in output
    assert "run pulumi up" in output


def test_a_protected_token_is_not_seen_by_an_unprotected_branch(deployed: Deployed) -> None:
    project = deployed.rehearsal.gitlab.project
    project.variables.update("KUBE_TOKEN", "development", {"protected": True})
    passed, output = deployed.job("deploy:development")
    assert not passed
    assert "protect the branch" in output
    project.branches.protect({"name": "develop"})
    try:
        passed, output = deployed.job("deploy:development")
        assert passed, output
    finally:
        project.branches.unprotect("develop")
        project.variables.update("KUBE_TOKEN", "development", {"protected": False})


def test_the_verify_job_waits_until_the_app_is_healthy(deployed: Deployed, tmp_path: Path) -> None:
    with app(deployed.repository, tmp_path, 503, 200) as asked:
        passed, output = deployed.job("verify:development")
    assert passed, output
    assert asked == ["/api/health"] * 2


PAST_ACCESS: Final = {
    "PUBLIC_HEALTH_URL": f"https://{HOST}/from-outside",
    "CF_ACCESS_CLIENT_ID": "id.access",
    "CF_ACCESS_CLIENT_SECRET": "a-client-secret",
}


def test_with_a_service_token_the_verify_job_also_checks_from_outside(deployed: Deployed, tmp_path: Path) -> None:
    deployed.record("curl", then=f'exec "{shutil.which("curl")}" "$@"')
    with app(deployed.repository, tmp_path, 200) as asked:
        passed, output = deployed.job("verify:development", **PAST_ACCESS)
    assert passed, output
    assert asked == ["/api/health", "/from-outside as id.access with a-client-secret"]
    assert PAST_ACCESS["CF_ACCESS_CLIENT_SECRET"] not in deployed.arguments + output


def test_a_service_token_that_access_rejects_fails_the_verify_job(deployed: Deployed, tmp_path: Path) -> None:
    with app(deployed.repository, tmp_path, 200, 302):
        passed, output = deployed.job("verify:development", **PAST_ACCESS)
    assert not passed
    assert "/from-outside answers 302 instead of 200" in output


def test_a_redirect_to_a_login_does_not_count_as_healthy(deployed: Deployed, tmp_path: Path) -> None:
    with app(deployed.repository, tmp_path, 302):
        passed, output = deployed.job("verify:development")
    assert not passed
    assert "answers 302 instead of 200" in output
