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


def less(memory: str, live_memory: str, *, instances: int, live_instances: int | None = None) -> list[str]:
    """Problems with this amount, as request and limit, where the instances have another."""
    both = {"requests": {"cpu": "1", "memory": memory}, "limits": {"cpu": "1", "memory": memory}}
    wanted = database(instances=instances, resources=both)
    there = live(wanted.operand_image, wanted)
    amounts = {"cpu": "1", "memory": live_memory}
    there["spec"] |= {"instances": live_instances or instances, "resources": {"requests": amounts, "limits": amounts}}
    return list(find_problems(SETTINGS, wanted, there))


@pytest.mark.parametrize(("instances", "least"), [(2, "2Gi"), (3, "2731Mi"), (5, "3277Mi")])
def test_resources_are_not_lowered_so_far_that_the_quota_refuses_a_replaced_instance(
    instances: int, least: str
) -> None:
    for_requests, for_limits = less("1Gi", "4Gi", instances=instances)
    assert for_requests.startswith("database.resources.requests.memory is 1Gi")
    assert for_limits.startswith("database.resources.limits.memory is 1Gi")
    assert f"to {least} or more now" in for_limits
    assert not less(least, "4Gi", instances=instances)
    assert not less("8Gi", "4Gi", instances=instances)
    assert not less("4Gi", "4Gi", instances=1, live_instances=instances), "fewer instances replace none"


def test_a_single_instance_ends_before_its_successor_begins() -> None:
    assert not less("1Gi", "64Gi", instances=1)
