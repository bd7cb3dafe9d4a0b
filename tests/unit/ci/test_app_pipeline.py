"""What the app's pipeline requires of GitLab, as far as no job that runs here can show it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.stacks import PROD
from tests.unit.answers import REGISTRY
from tests.unit.ops.test_registry import RAN, replica_sets

CI = Path(__file__).parents[3] / "ci"


@pytest.fixture(scope="module")
def pipeline() -> dict[str, Any]:
    """The pipeline with its includes."""
    own: dict[str, Any] = yaml.safe_load((CI / "app.gitlab-ci.yml").read_text(encoding="utf-8"))
    for included in own.pop("include"):
        own |= yaml.safe_load((CI.parent / included["local"]).read_text(encoding="utf-8"))
    return own


def extended(pipeline: dict[str, Any], job: str) -> dict[str, Any]:
    """The job's keys, on top of those of the jobs it extends."""
    own = pipeline[job]
    parents = own.get("extends", [])
    found: dict[str, Any] = {}
    for parent in [parents] if isinstance(parents, str) else parents:
        found |= extended(pipeline, parent) if parent in pipeline else {}
    found.update(own)
    return found


@pytest.mark.parametrize("job", ["deploy:development", "deploy:production", "rollback:production"])
def test_a_job_that_changes_the_cluster_is_not_retried_automatically(pipeline: dict[str, Any], job: str) -> None:
    assert extended(pipeline, job).get("retry", pipeline["default"]["retry"]) == 0


@pytest.mark.parametrize("job", ["type-check", "unit-tests", "verify:production"])
def test_a_job_that_changes_nothing_is_retried_after_a_runner_failure(pipeline: dict[str, Any], job: str) -> None:
    assert extended(pipeline, job).get("retry", pipeline["default"]["retry"])["max"] == 1


IN_A_CLUSTER = """
set -eu
refuse_stopped() { :; }
curl() { return 1; }
kubectl() {
  case "$2" in
    deployment) printf '%s' "$CURRENT" ;;
    replicasets) printf '%s' "$SETS" ;;
  esac
}
"""
"""The cluster's answers, CURRENT and SETS, in the form that the job asks for; GitLab does not answer."""


@pytest.mark.parametrize(("ran", "before"), RAN)
def test_a_rollback_returns_to_the_image_that_ran_before_as_ops_verify_sees_it(
    pipeline: dict[str, Any], ran: str, before: str
) -> None:
    done = rollback(pipeline, *(f"{REGISTRY}:{tag}" for tag in ran.split()))
    if before:
        assert f" to {REGISTRY}:{before}\n" in done.stdout
        return
    assert (done.returncode, done.stdout) == (1, "")
    assert "The cluster knows no image that ran before" in done.stderr
    assert "with the variable ROLLBACK_TAG" in done.stderr


@pytest.mark.parametrize("ran", [["a@sha256:1", "a@sha256:2", "a@sha256:3"], ["a:1", "b:1@sha256:1", "c:1"]])
def test_images_of_which_only_the_digest_or_the_repository_differs_are_different_images(
    pipeline: dict[str, Any], ran: list[str]
) -> None:
    _, before, _ = images = [f"registry.example.com:5000/{one}" for one in ran]
    assert f" to {before}\n" in rollback(pipeline, *images).stdout


def rollback(pipeline: dict[str, Any], *ran: str) -> subprocess.CompletedProcess[str]:
    """Runs the job's script in a cluster that has run these images, the last of them now."""
    sets = [
        f"{','.join(map(str, earlier))},{last} {image}\n" for image, (*earlier, last) in reversed(replica_sets(*ran))
    ]
    answers = {"CURRENT": ran[-1].rstrip("'"), "SETS": "".join(sets), "CI_API_V4_URL": "http://127.0.0.1:9"}
    of_cluster = {"app": PROD.app, "image_of": "", "APP_IMAGE": REGISTRY, "ROLLBACK_TAG": "", "ROLLOUT_TIMEOUT": "5m"}
    of_job = {"CI_JOB_TOKEN": "", "CI_PROJECT_ID": "57", "CI_ENVIRONMENT_NAME": "production", "CI_COMMIT_REF_NAME": ""}
    return subprocess.run(
        ["/bin/sh", "-c", IN_A_CLUSTER + pipeline[".rollback"]["script"][0]],
        env={"PATH": os.environ["PATH"], "KUBECONFIG": "", **answers, **of_cluster, **of_job},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


MIGRATES: Final = """
set -eu
app=invoicetron image_of=
refuse_stopped() { :; }
logs() { echo "the log of $1"; }
sleep() { :; }
date() { echo x >>"$DIRECTORY/minutes"; echo $(($(wc -l <"$DIRECTORY/minutes") * 60)); }
kubectl() {
  echo "$*" >>"$DIRECTORY/calls"
  case "$*" in
    "get job "*" --ignore-not-found "*) [ "$LEFT" != unknown ] || return 1; printf '%s' "$LEFT" ;;
    "get job "*) echo x >>"$DIRECTORY/looks"; [ "$(wc -l <"$DIRECTORY/looks")" -lt "$ENDS" ] || printf %s "$END" ;;
  esac
}
"""
"""A cluster that says LEFT of an earlier run's Job, and END of any Job from the look number ENDS on.

If LEFT is `unknown`, it does not answer. The clock is a minute later whenever it is looked at.
"""
LEFT: Final = "invoicetron-migrate-1a2b3c4d "
DELETES: Final = "delete job invoicetron-migrate-1a2b3c4d --ignore-not-found"


def deploy(
    pipeline: dict[str, Any], directory: Path, *, left: str, ends: int, end: str = "Complete"
) -> tuple[int, str]:
    (script,) = pipeline[".deploy"]["script"]
    variables = {"APP_IMAGE": f"{REGISTRY}/dev", "APP_MIGRATION": "invoicetron-migrate", "BACKUP": ""}
    of_job = {"CI_COMMIT_SHORT_SHA": "1a2b3c4d", "CI_JOB_ID": "7", "ROLLOUT_TIMEOUT": "5s"}
    cluster = {"DIRECTORY": str(directory), "LEFT": left, "ENDS": str(ends), "END": end}
    done = subprocess.run(
        ["/bin/sh", "-c", f"{MIGRATES}\n{script}"],
        env={**os.environ, **variables, **of_job, **cluster},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(("end", "passes"), [("Complete", True), ("Failed", False)])
def test_a_migration_that_a_cancelled_run_has_left_ends_before_the_job_starts_its_own(
    pipeline: dict[str, Any], tmp_path: Path, end: str, *, passes: bool
) -> None:
    status, output = deploy(pipeline, tmp_path, left=LEFT, ends=3, end=end)
    assert (status == 0) is passes, output
    calls = (tmp_path / "calls").read_text().splitlines()
    before = calls[: next(number for number, call in enumerate(calls) if call.startswith(DELETES))]
    assert len([call for call in before if call.startswith("get job") and "ignore-not-found" not in call]) == 3
    assert output.count("the log of invoicetron-migrate-1a2b3c4d") == 2


def test_a_migration_that_does_not_end_is_never_cut_short(pipeline: dict[str, Any], tmp_path: Path) -> None:
    status, output = deploy(pipeline, tmp_path, left=LEFT, ends=1000)
    assert status == 1
    assert "did not finish within 15 minutes" in output
    calls = (tmp_path / "calls").read_text()
    assert DELETES not in calls
    assert "set image" not in calls


def test_a_migration_that_the_cluster_does_not_show_is_not_deleted(pipeline: dict[str, Any], tmp_path: Path) -> None:
    status, output = deploy(pipeline, tmp_path, left="unknown", ends=1)
    assert status != 0, output
    assert (tmp_path / "calls").read_text().count("\n") == 1


@pytest.mark.parametrize("left", ["", f"{LEFT}Complete", f"{LEFT}FailureTarget Failed"])
def test_a_migration_that_has_ended_is_replaced_at_once(pipeline: dict[str, Any], tmp_path: Path, left: str) -> None:
    status, output = deploy(pipeline, tmp_path, left=left, ends=1)
    assert status == 0, output
    assert output.count("the log of") == 1
