"""Adopts what people made by hand: the file from which `pulumi import` takes it into a stack's state.

`pulumi preview --import-file` writes one entry for each resource that the program would create, with its provider and
parent, and a placeholder for the id. This fills in the ids of those that exist, and leaves the others out: they are
created by the next `up`. The next preview then shows updates of what differs, and no create or delete of what exists.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.command_line import pulumi

Find = Callable[[str, Mapping[str, Any]], str | None]

PLACEHOLDER = "<PLACEHOLDER>"
"""What `pulumi preview --import-file` writes where it wants an id."""


@dataclass(frozen=True, kw_only=True)
class ImportFile:
    """What goes into the file, and the names of the resources that exist and of those that do not."""

    document: Mapping[str, Any]
    existing: tuple[str, ...]
    missing: tuple[str, ...]


def import_existing(stack: str, find: Find) -> ImportFile:
    """The import file of a stack, as `find` sees the live systems. Changes nothing anywhere."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "import.json"
        preview = json.loads(pulumi("preview", "--stack", stack, "--json", "--import-file", str(file)))
        document = json.loads(file.read_text())
    return filled(document, preview, find)


def filled(document: Mapping[str, Any], preview: Mapping[str, Any], find: Find) -> ImportFile:
    """The file's placeholders replaced by ids, found by type and inputs as the preview has them."""
    inputs = {
        (state["type"], step["urn"].rsplit("::", 1)[-1]): state.get("inputs", {})
        for step in preview["steps"]
        if (state := step.get("newState")) is not None
    }
    resources, existing, missing = [], [], []
    for resource in document["resources"]:
        if resource.get("component"):
            resources.append(resource)
            continue
        type_, name = resource["type"], resource.get("logicalName", resource["name"])
        id_ = find(type_, inputs.get((type_, name), {}))
        if id_ is None:
            missing.append(name)
        else:
            existing.append(name)
            resources.append({**resource, "id": id_})
    return ImportFile(document={**document, "resources": resources}, existing=tuple(existing), missing=tuple(missing))
