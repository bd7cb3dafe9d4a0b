"""This repository's own pipeline as GitLab reads it: which jobs run when, with what, and that their shell is clean."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rehearsal.pipeline import InfrastructureRepository
from rehearsal.vendors.gitlab import GitLab
from tests.rehearsal.test_app_pipeline_definition import scripts, shellcheck

MERGE_REQUEST = "merge_request_event"
WRITES = re.compile(r"pulumi (up|destroy)")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> InfrastructureRepository:
    return InfrastructureRepository(tmp_path_factory.mktemp("pipeline") / "main", branch="main")


def waiting(repository: InfrastructureRepository, source: str) -> dict[str, str]:
    """Each job, and when it runs."""
    return {name: job["when"] for name, job in repository.jobs(source=source).items()}


def test_a_merge_request_is_tested_and_both_stacks_are_previewed(tmp_path: Path) -> None:
    branch = InfrastructureRepository(tmp_path / "clone", branch="feature")
    assert set(waiting(branch, MERGE_REQUEST)) == {"test", "preview:dev", "preview:prod"}


def test_the_default_branch_goes_to_dev_and_waits_for_a_person_before_prod(
    repository: InfrastructureRepository,
) -> None:
    assert waiting(repository, "push") == {
        "test": "on_success",
        "preview:prod": "on_success",
        "up:dev": "on_success",
        "up:prod": "manual",
        "reset:dev": "manual",
        "jobs-image": "manual",
    }
    jobs = repository.jobs()
    assert jobs["jobs-image"]["allow_failure"]
    assert {need["job"] for need in jobs["up:dev"]["needs"]} == {"test"}
    assert {need["job"] for need in jobs["up:prod"]["needs"]} == {"up:dev", "preview:prod"}
    # The pipeline waits at the gate, and neither waits for a reset nor keeps one waiting.
    assert not jobs["up:prod"]["allow_failure"]
    assert jobs["reset:dev"]["allow_failure"]
    assert jobs["reset:dev"]["needs"] == []


def test_a_schedule_verifies_drills_and_looks_for_drift_and_does_nothing_else(
    repository: InfrastructureRepository,
) -> None:
    jobs = ("drift:dev", "drift:prod", "verify:dev", "verify:prod", "drill:dev", "drill:prod")
    assert waiting(repository, "schedule") == dict.fromkeys(jobs, "on_success")


def test_the_tests_have_longer_than_gitlab_s_hour(repository: InfrastructureRepository) -> None:
    assert repository.definitions["test"]["timeout"] == "2 hours"


def test_the_jobs_image_is_pushed_under_its_commit_and_named_by_its_digest(
    repository: InfrastructureRepository, tmp_path: Path
) -> None:
    (tmp_path / "docker").write_text('#!/bin/sh\ncat >/dev/null\necho "docker $*"\n')
    (tmp_path / "docker").chmod(0o755)
    image = "registry.example.com/infra"
    registry = {"CI_REGISTRY_IMAGE": image, "CI_REGISTRY_PASSWORD": "x", "CI_REGISTRY_USER": "y", "CI_REGISTRY": "z"}
    project = GitLab.seeded().infrastructure
    run = repository.run("jobs-image", project, variables=registry, runner={"PATH": str(tmp_path)})
    assert run.passed, run.output
    pushed = re.findall(rf"docker push ({re.escape(image)}/jobs:\w+)", run.output)
    assert re.search(rf"docker build .*--file ci/Dockerfile --tag {re.escape(pushed[0])} \.", run.output)
    assert re.search(r"JOBS_IMAGE.*\n.*docker image inspect .*RepoDigests", run.output)


def test_another_repository_can_include_the_jobs(tmp_path: Path) -> None:
    repository = InfrastructureRepository(tmp_path / "clone", branch="main")
    included = (repository.clone / "ci" / "stack.gitlab-ci.yml").read_text()
    example = "\n".join(re.findall(r"^#   (.*)$", included, re.MULTILINE))
    (repository.clone / ".gitlab-ci.yml").write_text(re.sub(r"project: .*, file:", "local:", example))
    assert set(repository.jobs()) == {"up:dev"}


def test_the_jobs_of_another_app_s_stack_work_in_its_folder_under_its_name(tmp_path: Path) -> None:
    repository = InfrastructureRepository(tmp_path / "clone", branch="main")
    inputs = "{stack: dev, folder: apps/ledger, prefix: ledger/}"
    jobs = [
        f'{job}:ledger/dev: {{stage: deploy, extends: ".{job}:ledger/dev"}}'
        for job in ("preview", "up", "drift", "verify", "reset")
    ]
    other = "\n".join([f"  - local: ci/stack.gitlab-ci.yml\n    inputs: {inputs}", ""])
    file = repository.clone / ".gitlab-ci.yml"
    file.write_text("\n".join([file.read_text().replace("include:\n", f"include:\n{other}", 1), *jobs, ""]))
    definitions, written = repository.definitions, scripts(repository)
    assert definitions["up:ledger/dev"]["resource_group"] == "pulumi-ledger/dev"
    for job in ("up", "reset"):
        assert "--stack dev --cwd apps/ledger " in written[f"{job}:ledger/dev"]
        assert "--stack dev --cwd . " in written[f"{job}:dev"]
        assert repository.environment(f"{job}:ledger/dev") == "ledger/dev"
    for job in ("preview", "drift"):
        assert "ci.preview dev --cwd apps/ledger" in written[f"{job}:ledger/dev"]
        assert repository.environment(f"{job}:ledger/dev") == "preview/ledger/dev"
    assert "-m ops -C apps/ledger verify --stack dev" in written["verify:ledger/dev"]


@pytest.mark.parametrize(
    "job", ["up:dev", "reset:dev", "drift:dev", "verify:dev", "drill:dev", "up:prod", "drift:prod"]
)
def test_no_variable_given_to_a_pipeline_points_a_job_at_another_stack(
    repository: InfrastructureRepository, tmp_path: Path, job: str
) -> None:
    (tmp_path / "pulumi").write_text('#!/bin/sh\necho "pulumi $*"\n')
    (tmp_path / "pulumi").chmod(0o755)
    stack = job.partition(":")[2]
    given = {"STACK": {"dev": "prod", "prod": "dev"}[stack], "PULUMI_BACKEND_URL": "file:///nowhere"}
    project = GitLab.seeded().infrastructure
    source = "schedule" if job.startswith(("drift", "verify", "drill")) else "push"
    run = repository.run(job, project, source=source, variables=given, runner={"PATH": str(tmp_path)})
    assert set(
        re.findall(
            r"(?:pulumi \w+ --stack|-m ops -C \. (?:record )?\w+(?: --if-due)? --stack|-m ci\.preview) (\S+)",
            run.output,
        )
    ) == {stack}
    assert repository.environment(job).removeprefix("preview/") == stack


def test_a_job_that_changes_a_stack_runs_alone_and_to_its_end_and_uses_no_cache(
    repository: InfrastructureRepository,
) -> None:
    writing = {name for name, script in scripts(repository).items() if WRITES.search(script)}
    assert writing == {"up:dev", "up:prod", "reset:dev"}
    for name in writing:
        job = repository.definitions[name]
        assert job["resource_group"] == f"pulumi-{name.partition(':')[2]}"
        assert job["interruptible"] is False
        assert "cache" not in job


def test_no_job_that_may_see_a_stack_s_credentials_takes_files_from_a_cache(
    repository: InfrastructureRepository,
) -> None:
    # GitLab gives the cache of protected branches to every job that a Maintainer has started, whatever its branch.
    scoped = {name for name in repository.definitions if repository.environment(name)}
    assert {"preview:dev", "preview:prod", "up:dev", "verify:prod"} < scoped
    assert {name for name in scoped if "cache" in repository.definitions[name]} == set()


def test_every_preview_and_every_up_is_checked_by_the_policy_pack(repository: InfrastructureRepository) -> None:
    for name, script in scripts(repository).items():
        for command in re.findall(r"pulumi (?:up|preview) .*", script):
            assert '--policy-pack "$CI_PROJECT_DIR/policies"' in command, name


def test_the_jobs_scripts_pass_shellcheck(repository: InfrastructureRepository, tmp_path: Path) -> None:
    for name in repository.definitions:
        shellcheck(scripts(repository)[name], tmp_path)
