"""The JSON schema of the stack files, so that editors complete and check them."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel


def stack_file_schema(model: type[BaseModel]) -> str:
    """The schema of Pulumi.<stack>.yaml: the fields of `model` as `invoicetron:` keys, and Pulumi's own beside them."""
    schema: dict[str, Any] = model.model_json_schema()
    sections = {f"invoicetron:{name}": part for name, part in schema["properties"].items() if name != "stack"}
    required = [f"invoicetron:{name}" for name in schema["required"] if name != "stack"]
    config = {
        "type": "object",
        "properties": sections,
        "patternProperties": {"^(?!invoicetron:)[^:]+:.+$": {}},
        "additionalProperties": False,
        "required": required,
    }
    file = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Pulumi.<stack>.yaml of invoicetron",
        "type": "object",
        "properties": {
            "config": config,
            # Written by `pulumi stack init`; they protect values that a stack file of this project never holds.
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
