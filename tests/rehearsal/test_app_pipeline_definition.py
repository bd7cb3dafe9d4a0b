"""The app's pipeline as it is written: valid for GitLab, its jobs in order, its shell clean."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.pipeline import PIPELINE, AppRepository, PipelineError, Repository

STAGES = ["validate", "test", "build", "deploy", "verify"]


@pytest.fixture
def repository(tmp_path: Path) -> AppRepository:
    return AppRepository(tmp_path / "app", branch="develop")


def test_the_pipeline_is_valid_according_to_gitlab_s_own_schema(repository: AppRepository) -> None:
    assert repository.jobs()


@pytest.mark.parametrize(
    ("good", "bad"), [("resource_group: development", "resource_group: [1]"), ("needs: []", "nees: []")]
)
def test_a_pipeline_that_gitlab_would_refuse_is_refused(tmp_path: Path, good: str, bad: str) -> None:
    text = PIPELINE.read_text()
    assert good in text
    with pytest.raises(PipelineError, match=r"Invalid \.gitlab-ci\.yml"):
        AppRepository(tmp_path / "app", branch="develop", pipeline=text.replace(good, bad)).jobs()


@pytest.mark.parametrize(("branch", "environment"), [("develop", "development"), ("main", "production")])
def test_a_push_goes_through_all_stages_into_the_branch_s_environment(
    tmp_path: Path, branch: str, environment: str
) -> None:
    jobs = stages(AppRepository(tmp_path / "app", branch=branch))
    assert {name for name, stage in jobs.items() if stage in {"build", "deploy", "verify"}} == {
        f"build:{environment}",
        f"deploy:{environment}",
        f"rollback:{environment}",
        f"restore-command:{environment}",
        f"verify:{environment}",
    }
    assert set(jobs.values()) == set(STAGES)


def test_a_merge_request_is_checked_and_neither_built_nor_deployed(repository: AppRepository) -> None:
    assert set(stages(repository, source="merge_request_event").values()) == {"validate", "test"}


def test_no_job_prints_a_secret_or_talks_to_the_cluster_without_verifying_it(repository: AppRepository) -> None:
    dangerous = re.compile(r"--insecure|insecure-skip-tls-verify|set -x|xtrace|--token|printenv|--password ")
    for name, script in scripts(repository).items():
        assert not dangerous.search(script), name


def test_deployments_run_one_at_a_time_and_none_is_interrupted(tmp_path: Path) -> None:
    for branch, environment in (("develop", "development"), ("main", "production")):
        definitions = AppRepository(tmp_path / branch, branch=branch).definitions
        for job in (definitions[f"deploy:{environment}"], definitions[f"rollback:{environment}"]):
            assert job["resource_group"] == environment
            assert job["interruptible"] is False


def test_the_jobs_scripts_pass_shellcheck(repository: AppRepository, tmp_path: Path) -> None:
    for script in scripts(repository).values():
        shellcheck(script, tmp_path)


def stages(repository: AppRepository, *, source: str = "push") -> dict[str, str]:
    return {name: job["stage"] for name, job in repository.jobs(source=source).items()}


def scripts(repository: Repository) -> dict[str, str]:
    """What each job runs."""
    return {
        name: "\n".join([*job.get("before_script", []), *job["script"]]) for name, job in repository.definitions.items()
    }


def shellcheck(script: str, directory: Path) -> None:
    file = directory / "script.sh"
    file.write_text(f"#!/bin/sh\n{script}\n")
    executable = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([str(executable), str(file)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout
