"""What every app's Pulumi.yaml must contain: checked first, because an `up` without it does harm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import pulumi
import yaml

_PROVIDERS: Final = "pulumi:disable-default-providers"


class ProjectFileError(pulumi.RunError):
    """Something is wrong with Pulumi.yaml; the message lists all of it."""


def check_project_file(directory: Path, folders: Iterable[Path] = ()) -> None:
    """Raises `ProjectFileError` with what is wrong with that folder's Pulumi.yaml, given those in `folders`."""
    file = directory / "Pulumi.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    others = [other / "Pulumi.yaml" for other in folders if other.resolve() != directory.resolve()]
    if problems := [*_problems(content), *_namesakes(content.get("name"), others)]:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ProjectFileError(f"{file} is not as the program needs it. Nothing was created or changed.\n\n{listed}")


def _namesakes(name: object, others: Iterable[Path]) -> Iterator[str]:
    """To Pulumi, projects with one name are one project: an `up` of one would change the other's stack."""
    for other in others:
        # If a file cannot be read, its own app reports it.
        with suppress(OSError, ValueError, yaml.YAMLError, AttributeError):
            if yaml.safe_load(other.read_text(encoding="utf-8")).get("name") == name:
                yield f"name: {name} is also that of {other}, so the stacks of both are the same: choose another"


def _problems(content: dict[str, Any]) -> Iterator[str]:
    if (content.get("options") or {}).get("refresh") != "always":
        yield "options: {refresh: always}: without it the next change of the Deployment puts the placeholder image back"
    declared = (content.get("config") or {}).get(_PROVIDERS)
    if not isinstance(declared, dict) or declared.get("value") != ["*"]:
        yield f'config: {{{_PROVIDERS}: {{value: ["*"]}}}}: without it a resource could reach a cluster nobody chose'
