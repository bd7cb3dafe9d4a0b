"""The unit tests' own stack files with one value changed, and the message that results."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from settings import Settings, SettingsError
from settings.names import Names
from tests.stacks import PROJECT, STACKS

ROOT = Path(__file__).parents[2]


def stack_file(stack: str, directory: Path = STACKS) -> dict[str, Any]:
    """The content of a stack file, which the caller may change."""
    return copy.deepcopy(_read(directory / f"Pulumi.{stack}.yaml"))


@cache
def _read(file: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(file.read_text())
    return content


def sections(stack: str) -> dict[str, Any]:
    """The sections of a stack file, by name."""
    return {key.removeprefix("invoicetron:"): value for key, value in stack_file(stack)["config"].items()}


def with_value(stack: str, path: str, value: object) -> dict[str, Any]:
    """The sections of a stack file with the value at a dotted path set, or removed if it is None."""
    config = sections(stack)
    *above, last = path.split(".")
    target = config
    for key in above:
        target = target.setdefault(key, {})
    target[last] = value
    if value is None:
        del target[last]
    return config


def refusal(stack: str, config: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as error:
        Settings.load(Names(PROJECT, stack), config)
    return str(error.value)


def refusal_of(path: str, value: object, stack: str = "prod") -> str:
    """The message for one value in an otherwise correct stack file."""
    message = refusal(stack, with_value(stack, path, value))
    assert "1 mistake." in message
    return message


def accepts(kind: Any, value: object) -> bool:
    """Whether a setting of this type may have the value."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


def write_stack(directory: Path, *, replacing: tuple[str, str] = ("", "")) -> None:
    """Puts the project and its stack dev into a folder, with another text in the stack file."""
    (directory / "Pulumi.yaml").write_text((STACKS / "Pulumi.yaml").read_text())
    (directory / "Pulumi.dev.yaml").write_text((STACKS / "Pulumi.dev.yaml").read_text().replace(*replacing))
