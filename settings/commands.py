"""Commands for messages to the user, who runs them in this program's directory."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pulumi

_APPS: Final = "apps"
"""Folder of the apps that have their own Pulumi.yaml."""


def pulumi_command(command: str, stack: str, *arguments: str) -> str:
    """`pulumi <command> -s <stack> <arguments>`, with `-C apps/<app>` for an app in its own folder."""
    return " ".join(["pulumi", *_folder(), command, "-s", stack, *arguments])


def ops_command(command: str, stack: str, *arguments: str) -> str:
    """`python -m ops <command> --stack <stack> <arguments>`, with the same `-C`."""
    return " ".join(["python -m ops", *_folder(), command, "--stack", stack, *arguments])


def _folder() -> list[str]:
    root = Path(pulumi.get_root_directory())  # relative outside a run, as in `ops`, which works in the folder
    folder = root if root.is_absolute() else Path.cwd()
    return ["-C", f"{_APPS}/{folder.name}"] if folder.parent.name == _APPS else []
