"""The import file: the ids of existing objects, no entry for missing ones, and unchanged components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from ops.adopt import complete
from ops.adopt.blockers import Blocker
from tests.unit.program import run
from tests.unit.test_service_token import ASKED

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


def test_variables_with_secrets_are_not_imported_because_their_values_would_be_recorded() -> None:
    variables = run("prod", ASKED).of("ProjectVariable")
    document = {"resources": [{"type": one.type, "name": one.name, "id": PLACEHOLDER} for one in variables]}
    steps = [
        {"op": "create", "urn": one.urn, "newState": {"type": one.type, "inputs": {**one.inputs, "name": one.name}}}
        for one in variables
    ]
    found = complete(document, {"steps": steps}, Found({one.name: f"57:{one.name}:production" for one in variables}))
    assert set(found.taken_over) == {one.name for one in variables if one.secret_inputs}
    assert "CF_ACCESS_CLIENT_SECRET" in found.taken_over
    assert set(found.imported) == {one.name for one in variables if not one.secret_inputs}
