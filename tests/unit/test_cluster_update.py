"""What the operator changes in one step in an existing Cluster, and what it does not; checked before the first
resource."""

from __future__ import annotations

from typing import Any, Final

import pytest

from lookups.cluster_update import find_problems
from lookups.moving import Record
from settings.database import DatabaseSettings
from tests.unit.program import load_settings
from tests.unit.test_volumes import Cluster
from tests.unit.volume_problems import volume_problems

SETTINGS: Final = load_settings("prod")
OLD: Final = "ghcr.io/cloudnative-pg/postgresql:18.5-minimal-trixie"
GIGABYTES: Final = {"requests": {"cpu": "1", "memory": "4Gi"}, "limits": {"cpu": "1", "memory": "4Gi"}}
DEFAULTS: Final = {"max_parallel_workers": "32", "wal_level": "logical", "archive_timeout": "5min"}
"""A part of what the operator itself writes into each Cluster."""


def database(**changes: Any) -> DatabaseSettings:
    return DatabaseSettings.model_validate({"engine": "cloudnative-pg", **changes})


def live(image: str, of: DatabaseSettings) -> dict[str, Any]:
    """The Cluster that an earlier `up` has made of these settings."""
    parameters = {**DEFAULTS, **of.server_parameters}
    return {
        "metadata": {"uid": "here", "labels": {"app.kubernetes.io/part-of": "invoicetron"}},
        "spec": {"imageName": image, "postgresql": {"parameters": parameters}},
    }


@pytest.mark.parametrize(
    ("before", "after", "differing"),
    [
        ({}, {"parameters": {"work_mem": "1MB"}}, "work_mem"),
        ({"parameters": {"jit": False}}, {}, "jit"),
        ({"parameters": {"max_parallel_workers": 8}}, {}, "max_parallel_workers"),
        ({}, {"instances": 1, "parameters": {"max_parallel_workers": 8}}, "max_parallel_workers"),
        ({}, {"resources": GIGABYTES}, "effective_cache_size, maintenance_work_mem, shared_buffers, work_mem"),
    ],
)
def test_an_image_and_parameters_are_changed_one_after_the_other(
    before: dict[str, Any], after: dict[str, Any], differing: str
) -> None:
    there, wanted = live(OLD, database(**before)), database(**after)
    (problem,) = find_problems(SETTINGS, wanted, there)
    assert f"({differing};" in problem
    assert f"pulumi config set -s prod --path invoicetron:database.operandImage {OLD}\n    pulumi up -s prod" in problem
    there["spec"]["imageName"] = wanted.operand_image
    assert not list(find_problems(SETTINGS, wanted, there)), "with the same image"


@pytest.mark.parametrize("same", [{}, {"parameters": {"max_parallel_workers": 32}}, {"instances": 3, "size": "20Gi"}])
def test_an_image_alone_is_an_ordinary_change(same: dict[str, Any]) -> None:
    assert not list(find_problems(SETTINGS, database(**same), live(OLD, database())))


@pytest.mark.parametrize("record", [None, Record(uid="here", volume=None, kind="Cluster")])
def test_the_conflict_is_reported_with_the_problems_of_the_stack_s_volumes(record: Record | None) -> None:
    settings = SETTINGS.model_copy(update={"database": database(parameters={"work_mem": "1MB"})})
    (problem,) = volume_problems(settings, Cluster(operated=live(OLD, database())), record)
    assert "operandImage" in problem
