"""Adopts manually created resources: writes the file from which `pulumi import` takes them into a stack's state.

`pulumi preview --import-file` writes one entry for each resource that the program would create, with its provider and
parent, and a placeholder for the id. This fills in the ids of those that exist, and leaves the others out: they are
created by the next `up`. The next preview then shows updates of what differs, and no create or delete of what exists.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from components.delivery import TOKEN
from ops.adopt.blockers import Blocker
from ops.command_line import pulumi

_PROVIDER: Final = "pulumi:providers:"
_DYNAMIC: Final = "pulumi-python:dynamic"
_VARIABLE: Final = "gitlab:index/projectVariable:ProjectVariable"


class Live(Protocol):
    """The live systems, as `ops.adopt.existing.Live` looks at them."""

    def find(self, type_: str, inputs: Mapping[str, Any]) -> str | None:
        """Import id of the object that the inputs describe, or None."""

    def blockers(self, type_: str, inputs: Mapping[str, Any]) -> Iterable[Blocker]:
        """What keeps that object from being taken over as it is."""


@dataclass(frozen=True, kw_only=True)
class ImportFile:
    """What the file holds; the rest are names of resources, each in one of the groups."""

    document: Mapping[str, Any]
    imported: tuple[str, ...]
    """Exist, and are in the file."""
    taken_over: tuple[str, ...]
    """Exist, and are taken over by the program itself in the next `up`."""
    missing: tuple[str, ...]
    """Are made by the next `up`."""
    blockers: Mapping[str, tuple[Blocker, ...]]
    """Of those in the file, and of those that exist and are in no other group."""

    @property
    def fatal(self) -> list[tuple[str, Blocker]]:
        """Those that come before everything else, with the names of their resources."""
        return [(name, one) for name, found in self.blockers.items() for one in found if one.fatal]


def import_existing(stack: str, live: Live) -> ImportFile:
    """The import file of a stack, as it finds the live systems. Changes nothing anywhere."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "import.json"
        preview = json.loads(pulumi("preview", "--stack", stack, "--json", "--import-file", str(file)))
        document = json.loads(file.read_text())
    return complete(document, preview, live)


def complete(document: Mapping[str, Any], preview: Mapping[str, Any], live: Live) -> ImportFile:
    """The file's placeholders replaced by ids, found by type and inputs as the preview has them."""
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
        if id_ is None:
            missing.append(name)
            continue
        if found := tuple(live.blockers(type_, wanted)):
            blockers[name] = found
        if _is_taken_over(type_, wanted):
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
    """Whether the resource's own creation takes over what exists.

    Pulumi imports no dynamic resource. Of a variable with a secret it would record the live value in plain.
    """
    return type_.startswith(_DYNAMIC) or (type_ == _VARIABLE and inputs.get("key") == TOKEN)


def _name(step: Mapping[str, Any]) -> str:
    return str(step["urn"].rsplit("::", 1)[-1])
