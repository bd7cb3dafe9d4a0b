"""Imports existing objects into a stack's state, by id."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.command_line import pulumi


@dataclass(frozen=True, kw_only=True)
class UnrecordedResource:
    """An existing resource of the program that the state lacks; `parent` and `provider` are URNs that it has."""

    type: str
    name: str
    id: str
    parent: str
    provider: str


def import_into_state(stack: str, resources: Sequence[UnrecordedResource]) -> None:
    """Runs `pulumi import` if there is something to import. Raises `PulumiError`."""
    if not resources:
        return
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "import.json"
        file.write_text(json.dumps(import_file(resources)))
        options = ["--protect=false", "--generate-code=false", "--yes"]
        pulumi("import", "--stack", stack, "--file", str(file), *options)


def import_file(resources: Sequence[UnrecordedResource]) -> dict[str, Any]:
    """The document that `pulumi import --file` reads; it refers to URNs by names, which its name table defines."""
    urns = sorted({urn for one in resources for urn in (one.parent, one.provider)})
    names = {urn: f"urn-{number}" for number, urn in enumerate(urns)}
    documents = [
        {"type": one.type, "name": one.name, "id": one.id, "parent": names[one.parent], "provider": names[one.provider]}
        for one in resources
    ]
    return {"nameTable": {name: urn for urn, name in names.items()}, "resources": documents}
