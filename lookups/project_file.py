"""What every app's Pulumi.yaml says, whichever app it is: looked at first, as an `up` without it does harm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pulumi
import yaml

_PROVIDERS: Final = "pulumi:disable-default-providers"


class ProjectFileError(pulumi.RunError):
    """Pulumi.yaml lacks something; the message lists all of it."""


def check_project_file(directory: Path) -> None:
    """Raises `ProjectFileError` with what the Pulumi.yaml of that folder lacks."""
    file = directory / "Pulumi.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    if problems := list(_problems(content)):
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise ProjectFileError(f"{file} lacks what the program needs. Nothing was created or changed.\n\n{listed}")


def _problems(content: dict[str, Any]) -> Iterator[str]:
    if (content.get("options") or {}).get("refresh") != "always":
        yield "options: {refresh: always}: without it the next change of the Deployment puts the placeholder image back"
    declared = (content.get("config") or {}).get(_PROVIDERS)
    if not isinstance(declared, dict) or declared.get("value") != ["*"]:
        yield f'config: {{{_PROVIDERS}: {{value: ["*"]}}}}: without it a resource could reach a cluster nobody chose'
