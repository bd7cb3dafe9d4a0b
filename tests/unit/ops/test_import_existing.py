"""The import file: ids of what exists, nothing of what does not, and components as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.import_existing import PLACEHOLDER, filled

NAMESPACE, SECRET = "kubernetes:core/v1:Namespace", "kubernetes:core/v1:Secret"

DOCUMENT = {
    "nameTable": {"kubernetes": "urn:provider"},
    "resources": [
        {"type": "invoicetron:environment:Environment", "name": "environment", "component": True},
        {"type": NAMESPACE, "name": "namespace", "id": PLACEHOLDER, "parent": "environment"},
        {"type": SECRET, "name": "secret_2", "logicalName": "secret", "id": PLACEHOLDER},
    ],
}
PREVIEW = {
    "steps": [
        {"op": "create", "urn": "urn::namespace", "newState": {"type": NAMESPACE, "inputs": {"name": "shop"}}},
        {"op": "create", "urn": "urn::secret", "newState": {"type": SECRET, "inputs": {"name": "token"}}},
    ]
}


def result(existing: Mapping[str, str]) -> Any:
    return filled(DOCUMENT, PREVIEW, lambda _type, inputs: existing.get(inputs.get("name", "")))


def test_what_exists_gets_its_id_and_keeps_its_provider_and_parent() -> None:
    found = result({"shop": "shop"})
    (namespace,) = [one for one in found.document["resources"] if one["type"] == NAMESPACE]
    assert namespace == {"type": NAMESPACE, "name": "namespace", "id": "shop", "parent": "environment"}
    assert found.document["nameTable"] == DOCUMENT["nameTable"]


def test_what_does_not_exist_is_left_out_for_the_next_up_to_create() -> None:
    found = result({"shop": "shop"})
    assert found.existing == ("namespace",)
    assert found.missing == ("secret",)
    assert PLACEHOLDER not in str(found.document)


def test_components_stay_because_their_children_name_them() -> None:
    assert [one["name"] for one in result({}).document["resources"]] == ["environment"]


def test_a_resource_is_matched_by_its_logical_name_where_the_file_had_to_rename_it() -> None:
    assert result({"token": "shop/token"}).existing == ("secret",)
