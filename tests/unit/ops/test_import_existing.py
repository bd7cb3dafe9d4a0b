"""The import file: the ids of existing objects, no entry for missing ones, and unchanged components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from ops.adopt import complete
from ops.adopt.blockers import Blocker

PLACEHOLDER = "<PLACEHOLDER>"
"""What `pulumi preview --import-file` writes in place of an id."""

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


@dataclass
class Found:
    """Live systems that hold the objects in `ids`, with blockers for those in `blocked`."""

    ids: Mapping[str, str]
    blocked: Mapping[str, Blocker] = field(default_factory=dict)

    def find(self, _type: str, inputs: Mapping[str, Any]) -> str | None:
        return self.ids.get(inputs.get("name", ""))

    def blockers(self, _type: str, inputs: Mapping[str, Any]) -> list[Blocker]:
        return [self.blocked[name]] if (name := inputs["name"]) in self.blocked else []


def result(existing: Mapping[str, str]) -> Any:
    return complete(DOCUMENT, PREVIEW, Found(existing))


def test_an_existing_object_gets_its_id_and_keeps_its_provider_and_parent() -> None:
    found = result({"shop": "shop"})
    (namespace,) = [one for one in found.document["resources"] if one["type"] == NAMESPACE]
    assert namespace == {"type": NAMESPACE, "name": "namespace", "id": "shop", "parent": "environment"}
    assert found.document["nameTable"] == DOCUMENT["nameTable"]


def test_a_missing_object_is_left_out_for_the_next_up_to_create() -> None:
    found = result({"shop": "shop"})
    assert found.imported == ("namespace",)
    assert found.missing == ("secret",)
    assert PLACEHOLDER not in str(found.document)


def test_components_stay_because_their_children_name_them() -> None:
    assert [one["name"] for one in result({}).document["resources"]] == ["environment"]


def test_a_resource_is_matched_by_its_logical_name_where_the_file_had_to_rename_it() -> None:
    assert result({"token": "shop/token"}).imported == ("secret",)


@pytest.mark.parametrize("imported", [True, False])
def test_a_blocked_object_is_reported_and_imported_only_if_its_blocker_allows(imported: bool) -> None:
    blocker = Blocker(why="because", remedy="do this", imported=imported)
    found = complete(DOCUMENT, PREVIEW, Found({"shop": "shop"}, {"shop": blocker}))
    assert found.blockers == {"namespace": (blocker,)}
    assert found.imported == (("namespace",) if imported else ())
    assert found.missing == ("secret",)


def test_objects_that_the_program_imports_itself_are_listed_separately() -> None:
    step = {"op": "import", "urn": "urn::KUBE_CA", "newState": {"type": "t", "inputs": {}}}
    found = complete(DOCUMENT, {"steps": [*PREVIEW["steps"], step]}, Found({}))
    assert found.taken_over == ("KUBE_CA",)


@pytest.mark.parametrize(("key", "imported"), [("KUBE_TOKEN", False), ("KUBE_CA", True)])
def test_a_variable_with_a_secret_is_not_imported_because_its_value_would_be_recorded(key: str, imported: bool) -> None:
    type_ = "gitlab:index/projectVariable:ProjectVariable"
    document = {"resources": [{"type": type_, "name": key, "id": PLACEHOLDER}]}
    state = {"type": type_, "inputs": {"name": key, "key": key}}
    preview = {"steps": [{"op": "create", "urn": f"urn::{key}", "newState": state}]}
    found = complete(document, preview, Found({key: f"57:{key}:production"}))
    assert (found.imported, found.taken_over) == (((key,), ()) if imported else ((), (key,)))
