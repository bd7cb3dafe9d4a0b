"""What differs between two objects, and which differences replace."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.plugins.base import DiffKind
from rehearsal.plugins.kubernetes.diff import changes, parse_path, path_text
from rehearsal.plugins.kubernetes.force_new import force_new_fields
from rehearsal.plugins.kubernetes.objects import Object
from rehearsal.plugins.values import UNKNOWN


def test_added_changed_and_deleted_properties_are_told_apart() -> None:
    found = changes({"same": 1, "changed": 1, "deleted": 1}, {"same": 1, "changed": 2, "added": 1}, force_new=[])
    assert found == {"changed": DiffKind.UPDATE, "added": DiffKind.ADD, "deleted": DiffKind.DELETE}


def test_lists_are_compared_element_by_element() -> None:
    old = {"containers": [{"name": "a", "image": "1"}, {"name": "b"}]}
    new = {"containers": [{"name": "a", "image": "2", "tty": True}]}
    assert changes(old, new, force_new=[]) == {
        "containers[0].image": DiffKind.UPDATE,
        "containers[0].tty": DiffKind.ADD,
        "containers[1]": DiffKind.DELETE,
    }


def test_a_value_that_is_not_known_yet_counts_as_changed() -> None:
    assert changes({"a": "x"}, {"a": UNKNOWN, "b": UNKNOWN}, force_new=[]) == {"a": DiffKind.UPDATE, "b": DiffKind.ADD}


@pytest.mark.parametrize("ignored", ["spec.containers[0].image", "spec.containers[*].image", "spec.containers", "spec"])
def test_an_ignored_path_hides_everything_at_and_below_it(ignored: str) -> None:
    old, new = ({"spec": {"containers": [{"image": tag}]}} for tag in ("1", "2"))
    assert changes(old, new, force_new=[], ignore=[ignored]) == {}


def test_true_is_not_one() -> None:
    assert changes({"a": 1}, {"a": True}, force_new=[]) == {"a": DiffKind.UPDATE}


paths = st.lists(
    st.text(st.characters(codec="ascii", exclude_characters="\\"), min_size=1) | st.integers(0, 99), min_size=1
)


@given(paths.filter(lambda path: isinstance(path[0], str)))
def test_every_path_survives_being_written_and_read(path: list[Any]) -> None:
    assert parse_path(path_text(tuple(path))) == tuple(path)


def replaced(old: Object, new: Object, **mutable: bool) -> bool:
    options = {"secret_mutable": True, "config_map_mutable": False} | mutable
    found = changes(old, new, force_new=force_new_fields(new, **options))
    return any(kind.name.endswith("REPLACE") for kind in found.values())


def of(kind: str, api_version: str = "v1", **rest: Any) -> Object:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", "namespace": "b"}, **rest}


def test_a_new_name_or_namespace_replaces_anything_custom_resources_too() -> None:
    old = of("HTTPRoute", "gateway.networking.k8s.io/v1")
    assert replaced(old, {**old, "metadata": {"name": "other", "namespace": "b"}})
    assert replaced(old, {**old, "metadata": {"name": "a", "namespace": "other"}})
    assert not replaced(old, {**old, "spec": {"hostnames": ["x"]}})


def test_a_secret_is_replaced_for_its_data_only_if_it_or_the_provider_makes_it_immutable() -> None:
    old, new = of("Secret", data={"a": "MQ=="}), of("Secret", data={"a": "Mg=="})
    assert not replaced(old, new)
    assert replaced(old, new, secret_mutable=False)
    assert replaced({**old, "immutable": True}, {**new, "immutable": True})
    assert replaced(of("Secret", type="Opaque"), of("Secret", type="kubernetes.io/dockerconfigjson"))


def test_a_config_map_is_replaced_for_its_data_unless_the_provider_calls_it_mutable() -> None:
    old, new = of("ConfigMap", data={"a": "1"}), of("ConfigMap", data={"a": "2"})
    assert replaced(old, new)
    assert not replaced(old, new, config_map_mutable=True)


def test_a_claim_grows_in_place_and_moves_to_another_class_by_replacement() -> None:
    def claim(size: str, class_: str) -> Object:
        spec = {"storageClassName": class_, "resources": {"requests": {"storage": size}}}
        return of("PersistentVolumeClaim", spec=spec)

    assert not replaced(claim("1Gi", "longhorn"), claim("2Gi", "longhorn"))
    assert replaced(claim("1Gi", "longhorn"), claim("1Gi", "other"))


def test_a_stateful_set_is_replaced_for_its_claim_templates_and_not_for_its_pod_template() -> None:
    def stateful_set(size: str, image: str) -> Object:
        template = {"spec": {"containers": [{"image": image}]}}
        spec = {"volumeClaimTemplates": [{"spec": {"size": size}}], "template": template}
        return of("StatefulSet", "apps/v1", spec=spec)

    assert replaced(stateful_set("1Gi", "a"), stateful_set("2Gi", "a"))
    assert not replaced(stateful_set("1Gi", "a"), stateful_set("1Gi", "b"))


def test_a_field_that_forces_replacement_also_does_so_when_its_whole_parent_is_added() -> None:
    assert replaced(of("Job", "batch/v1"), of("Job", "batch/v1", spec={"template": {"spec": {}}}))


def test_a_pod_is_replaced_for_a_change_of_any_containers_image() -> None:
    old = of("Pod", spec={"containers": [{"name": "a"}, {"name": "b", "image": "1"}]})
    new = of("Pod", spec={"containers": [{"name": "a"}, {"name": "b", "image": "2"}]})
    assert replaced(old, new)
