"""The expressions of `pulumi.com/waitFor`."""

from __future__ import annotations

import pytest

from rehearsal.plugins.kubernetes.objects import Object
from rehearsal.plugins.kubernetes.wait_for import WaitForError, expectations

ACCEPTED = 'jsonpath={.status.parents[0].conditions[?(@.type=="Accepted")].status}=True'


def route(status: str) -> Object:
    return {"status": {"parents": [{"conditions": [{"type": "Accepted", "status": status}]}]}}


def is_met(value: str, obj: Object) -> bool:
    return all(expectation.is_met(obj) for expectation in expectations(value))


def test_a_filter_finds_the_condition_of_a_route() -> None:
    assert is_met(ACCEPTED, route("True"))
    assert not is_met(ACCEPTED, route("False"))
    assert not is_met(ACCEPTED, {})


def test_a_path_without_a_value_only_has_to_exist() -> None:
    assert is_met("jsonpath={.status.parents}", route("False"))
    assert not is_met("jsonpath={.status.parents}", {})


def test_only_the_objects_own_conditions_count_so_a_routes_are_not_found() -> None:
    assert is_met("condition=Ready", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    assert is_met("condition=Ready=False", {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    assert not is_met("condition=Accepted", route("True"))


def test_all_expressions_of_a_list_must_be_met() -> None:
    both = '["jsonpath={.a}=1", "jsonpath={.b}=2"]'
    assert is_met(both, {"a": 1, "b": 2})
    assert not is_met(both, {"a": 1})


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("Ready", 'expected a "jsonpath=" or "condition=" prefix'),
        ("jsonpath=.a", "should be wrapped in brackets"),
        ("jsonpath={.a}=", "requires a value"),
        ("jsonpath={.a[}", "parsing"),
        ("[]", "at least one condition"),
    ],
)
def test_an_expression_that_cannot_be_understood_is_refused(value: str, complaint: str) -> None:
    with pytest.raises(WaitForError, match=complaint):
        expectations(value)
