"""What the app's pipeline requires of GitLab, as far as no job that runs here can show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

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
