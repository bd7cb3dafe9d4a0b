"""The JSON schema of the stack files, with which editors complete and check them."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from settings.errors import NO_KEYS


@cache
def stack_file_schema(model: type[BaseModel], project: str) -> str:
    """The schema of Pulumi.<stack>.yaml: the fields of `model` as keys of `project`, and Pulumi's own keys."""
    _describe(model)
    schema: dict[str, Any] = _without_null(model.model_json_schema())
    sections = {f"{project}:{name}": part for name, part in schema["properties"].items() if name not in NO_KEYS}
    required = [f"{project}:{name}" for name in schema["required"] if name not in NO_KEYS]
    config = {
        "type": "object",
        "properties": sections,
        "patternProperties": {f"^(?!{project}:)[^:]+:.+$": {}},
        "additionalProperties": False,
        "required": required,
    }
    file = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"Pulumi.<stack>.yaml of {project}",
        "type": "object",
        "properties": {
            "config": config,
            # `pulumi stack init` writes them; they protect values that a stack file of this project never holds.
            "encryptionsalt": {"type": "string"},
            "encryptedkey": {"type": "string"},
            "secretsprovider": {"type": "string"},
            "environment": {},
        },
        "additionalProperties": False,
        "required": ["config"],
        "definitions": schema["$defs"],
    }
    return json.dumps(file, indent=2, ensure_ascii=False).replace("#/$defs/", "#/definitions/") + "\n"


def _without_null(schema: Any) -> Any:
    """The schema without null, as a value and as a default: the settings refuse a key without a value."""
    if isinstance(schema, list):
        return [_without_null(part) for part in schema if part != {"type": "null"}]
    if isinstance(schema, dict):
        return {key: _without_null(part) for key, part in schema.items() if part is not None}
    return schema


def _describe(model: type[BaseModel]) -> None:
    """Makes the docstrings below the fields of every section their descriptions, which editors show.

    pydantic can do this itself (`use_attribute_docstrings`), but on every import of a section, which takes a sixteenth
    of dev's start-up time (`make bench WHAT=start`).
    """
    base: type[BaseModel] = model.__bases__[0]
    sections = base.__subclasses__()
    for section in sections:
        sections += section.__subclasses__()
        # An inherited field is not the same object as its parent's.
        for parent in reversed(section.__mro__[: section.__mro__.index(base)]):
            for name, description in _docstrings(parent):
                section.model_fields[name].description = description
    # A section embeds the schemas of its parts as they are at that moment, and may be rebuilt before its parts.
    before = None
    while before != (now := model.model_json_schema()):
        before = now
        for section in (*sections, model):
            section.model_rebuild(force=True)


def _docstrings(section: type) -> Iterator[tuple[str, str]]:
    (body,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(body, ast.ClassDef)  # noqa: S101 - the source of a class
    for field, below in pairwise(body.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
