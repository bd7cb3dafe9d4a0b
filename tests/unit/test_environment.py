"""The namespace: what it enforces, what fits into it, and that prod's cannot be destroyed."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from tests.unit.program import Program, amount, run

BOUNDS = ("requests.cpu", "limits.cpu", "requests.memory", "limits.memory")
Taken = dict[str, Decimal]


def taken_by(pod: dict[str, Any]) -> Taken:
    """What the scheduler and the quota count for a pod: the sum of its containers, or its largest init container."""
    spec = pod["spec"]
    together = added(_of_container(container) for container in spec["containers"])
    largest = [_of_container(container) for container in spec.get("initContainers", [])]
    return {bound: max(each[bound] for each in [together, *largest]) for bound in BOUNDS}


def _of_container(container: dict[str, Any]) -> Taken:
    amounts = {bound: bound.split(".") for bound in BOUNDS}
    return {bound: amount(container["resources"][kind][name]) for bound, (kind, name) in amounts.items()}


def added(parts: Iterable[Taken]) -> Taken:
    """The sum of the parts, bound by bound."""
    every = list(parts)
    return {bound: sum((each[bound] for each in every), Decimal(0)) for bound in BOUNDS}


def busiest_moment(program: Program) -> Taken:
    """A rolling update while every Job of the stack runs."""
    parts = []
    for owner, pod in program.pods():
        spec = owner.inputs["spec"]
        surge = spec.get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", 0)
        parts += [taken_by(pod)] * (spec.get("replicas", 1) + surge)
    return added(parts)


def quota(program: Program) -> Taken:
    """What the namespace may hold."""
    return {name: amount(text) for name, text in program.one("ResourceQuota").inputs["spec"]["hard"].items()}


def test_a_rolling_update_fits_beside_every_job_of_the_stack(program: Program) -> None:
    most = busiest_moment(program)
    assert all(most[bound] <= quota(program)[bound] for bound in BOUNDS)


def test_one_more_app_pod_than_a_rolling_update_needs_is_refused(program: Program) -> None:
    (app,) = [pod for owner, pod in program.pods() if owner.kind == "Deployment"]
    more = added([busiest_moment(program), taken_by(app)])
    assert all(more[bound] > quota(program)[bound] for bound in BOUNDS)


def test_the_quota_grows_with_what_the_settings_give_the_app() -> None:
    generous = {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"cpu": "4", "memory": "8Gi"}}
    program = run("dev", {"app.resources": generous})
    assert all(busiest_moment(program)[bound] <= quota(program)[bound] for bound in BOUNDS)


def test_a_pod_that_somebody_starts_by_hand_gets_the_bounds_that_the_quota_demands(program: Program) -> None:
    (defaults,) = program.one("LimitRange").inputs["spec"]["limits"]
    assert defaults["type"] == "Container"
    assert set(defaults["default"]) == set(defaults["defaultRequest"]) == {"cpu", "memory"}


def test_the_quota_exists_before_anything_that_counts_against_it(program: Program) -> None:
    bounds = {program.one("ResourceQuota").urn, program.one("LimitRange").urn}
    for owner, _ in program.pods():
        assert bounds <= program.waits_for(owner)


def test_baseline_is_enforced_and_restricted_is_warned_about_and_audited(program: Program) -> None:
    labels = program.one("Namespace").inputs["metadata"]["labels"]
    assert {name.rpartition("/")[2]: level for name, level in labels.items() if "pod-security" in name} == {
        "enforce": "baseline",
        "audit": "restricted",
        "warn": "restricted",
    }


def test_prod_protects_its_namespace_and_dev_does_not(dev: Program, prod: Program) -> None:
    assert prod.one("Namespace").request.protect
    assert not dev.one("Namespace").request.protect
