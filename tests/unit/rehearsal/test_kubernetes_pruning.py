"""Live objects in the shape of inputs."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rehearsal.plugins.kubernetes.pruning import prune

leaves = st.sampled_from([True, False, 0, 1, "", "x"])
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
objects = st.dictionaries(st.sampled_from("abc"), values, max_size=3)


@given(objects)
def test_an_object_pruned_to_its_own_shape_is_unchanged(obj: dict[str, Any]) -> None:
    assert prune(obj, obj) == obj


@given(live=objects, shape=objects)
def test_pruning_twice_changes_nothing_more(live: dict[str, Any], shape: dict[str, Any]) -> None:
    once = prune(live, shape)
    assert prune(once, shape) == once


@given(live=objects, shape=objects)
def test_no_key_appears_that_the_shape_does_not_have(live: dict[str, Any], shape: dict[str, Any]) -> None:
    assert prune(live, shape).keys() <= shape.keys()


def test_a_changed_image_is_kept_and_defaults_of_the_server_are_dropped() -> None:
    live = {"spec": {"containers": [{"name": "app", "image": "new", "imagePullPolicy": "Always"}], "replicas": 1}}
    shape = {"spec": {"containers": [{"name": "app", "image": "placeholder"}]}}
    assert prune(live, shape) == {"spec": {"containers": [{"name": "app", "image": "new"}]}}


def test_elements_that_only_the_live_list_has_are_not_inputs() -> None:
    assert prune({"ports": [{"p": 1}, {"p": 2}]}, {"ports": [{"p": 1}]}) == {"ports": [{"p": 1}]}
