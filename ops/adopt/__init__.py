"""Adopts manually created resources: writes the file with which `pulumi import` imports them into a stack's state.

`pulumi preview --import-file` writes one entry for each resource that the program would create, with its provider and
parent, and a placeholder for the id. This fills in the ids of existing resources and leaves the others out: the next
`up` creates them. The next preview then shows updates where something differs, but no create or delete of what exists.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from components.delivery import SECRETS
from ops.adopt.blockers import Blocker
from ops.command_line import pulumi

_PROVIDER: Final = "pulumi:providers:"
_DYNAMIC: Final = "pulumi-python:dynamic"
_VARIABLE: Final = "gitlab:index/projectVariable:ProjectVariable"


class Live(Protocol):
    """The live systems, as `ops.adopt.existing.Live` reads them."""

    def find(self, type_: str, inputs: Mapping[str, Any]) -> str | None:
        """Import id of the object that the inputs describe, or None."""

    def blockers(self, type_: str, inputs: Mapping[str, Any]) -> Iterable[Blocker]:
        """What prevents that object, or one in its place that `find` passes over, from being adopted as it is."""


@dataclass(frozen=True, kw_only=True)
class ImportFile:
    """The file's content, and the names of the resources, each in one of the groups."""

    document: Mapping[str, Any]
    imported: tuple[str, ...]
    """They exist, and are in the file."""
    taken_over: tuple[str, ...]
    """They exist, and the program itself takes them over in the next `up`."""
    missing: tuple[str, ...]
    """The next `up` creates them."""
    blockers: Mapping[str, tuple[Blocker, ...]]
    """Blockers of resources in the file, and of existing resources in no other group."""

    @property
    def fatal(self) -> list[tuple[str, Blocker]]:
        """The blockers to resolve before anything else, with the names of their resources."""
        return [(name, one) for name, found in self.blockers.items() for one in found if one.fatal]


def import_existing(stack: str, live: Live) -> ImportFile:
    """The import file of a stack, from what exists in the live systems. Changes nothing anywhere."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "import.json"
        preview = json.loads(pulumi("preview", "--stack", stack, "--json", "--import-file", str(file)))
        document = json.loads(file.read_text())
    return complete(document, preview, live)


def complete(document: Mapping[str, Any], preview: Mapping[str, Any], live: Live) -> ImportFile:
    """Replaces the file's placeholders by ids, which it finds by the types and inputs in the preview."""
    steps = [(step, state) for step in preview["steps"] if (state := step.get("newState")) is not None]
    inputs = {(state["type"], _name(step)): state.get("inputs", {}) for step, state in steps}
    resources, imported, missing = [], [], []
    taken_over = [_name(step) for step, _ in steps if step["op"] == "import"]
    blockers: dict[str, tuple[Blocker, ...]] = {}
    for resource in document["resources"]:
        if resource.get("component") or resource["type"].startswith(_PROVIDER):
            resources.append(resource)
            continue
        type_, name = resource["type"], resource.get("logicalName", resource["name"])
        wanted = inputs.get((type_, name), {})
        id_ = live.find(type_, wanted)
        if found := tuple(live.blockers(type_, wanted)):
            blockers[name] = found
        if id_ is None:
            missing += [] if found else [name]
        elif _is_taken_over(type_, wanted):
            taken_over += [] if found else [name]
        elif all(blocker.imported for blocker in found):
            imported.append(name)
            resources.append({**resource, "id": id_})
    used = {resource.get("provider") for resource in resources}
    kept = [one for one in resources if not one["type"].startswith(_PROVIDER) or one["name"] in used]
    return ImportFile(
        document={**document, "resources": kept},
        imported=tuple(imported),
        taken_over=tuple(taken_over),
        missing=tuple(missing),
        blockers=blockers,
    )


def _is_taken_over(type_: str, inputs: Mapping[str, Any]) -> bool:
    """Whether the resource's own create takes over what exists.

    Pulumi cannot import a dynamic resource. For a variable with a secret, it would record the live value in plain text.
    """
    return type_.startswith(_DYNAMIC) or (type_ == _VARIABLE and inputs.get("key") in SECRETS)


def _name(step: Mapping[str, Any]) -> str:
    return str(step["urn"].rsplit("::", 1)[-1])
