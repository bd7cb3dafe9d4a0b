"""What the engine records of an object, and which parts of it are secret."""

from __future__ import annotations

from rehearsal.plugins.kubernetes.checkpoint import checkpoint, mark_secrets, recorded, recorded_field_manager
from rehearsal.plugins.values import Secret


def test_inputs_live_state_and_field_manager_come_back_as_they_were_recorded() -> None:
    inputs = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}}
    live = {**inputs, "metadata": {"uid": "1"}}
    outputs = checkpoint(live=live, inputs=inputs, secrets_of=inputs, field_manager="pulumi-kubernetes-1")
    assert recorded(outputs) == (inputs, live)
    assert recorded_field_manager(outputs) == "pulumi-kubernetes-1"


def test_the_data_of_a_secret_is_secret_even_where_the_program_did_not_say_so() -> None:
    marked = mark_secrets({"kind": "Secret", "data": {"a": "eA=="}, "type": "Opaque"}, {})
    assert marked == {"kind": "Secret", "data": Secret({"a": "eA=="}), "type": "Opaque"}


def test_a_secret_value_is_marked_alone_in_a_map_and_takes_its_whole_list_along() -> None:
    live = {"kind": "Pod", "metadata": {"annotations": {"a": "x", "b": "y"}}, "spec": {"containers": [{"env": "x"}]}}
    like = {"metadata": {"annotations": {"a": Secret("x"), "b": "y"}}, "spec": {"containers": [{"env": Secret("x")}]}}
    assert mark_secrets(live, like) == {
        "kind": "Pod",
        "metadata": {"annotations": {"a": Secret("x"), "b": "y"}},
        "spec": {"containers": Secret([{"env": "x"}])},
    }
