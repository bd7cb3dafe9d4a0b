"""Reads Pulumi's YAML files by Pulumi's rules, without running `pulumi`.

PyYAML implements YAML 1.1: `yes` is a boolean, 12:30 a number, and the last of two equal keys counts. Pulumi uses
go-yaml 3, to which the first two are strings and the third is a mistake (measured: `pulumi config --json`, 3.259).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

_TAG: Final = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(
                problem=f"the key {twice[0]} occurs twice", problem_mark=node.start_mark
            )
        return super().construct_mapping(node, deep=deep)

    def construct_date(self, node: yaml.ScalarNode) -> str:
        """The date as Go prints a time. A quoted date is a string and never gets here."""
        text = str(node.value)
        return f"{text} 00:00:00 +0000 UTC" if re.fullmatch(r"\d{4}-\d\d?-\d\d?", text) else text


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag.removeprefix(_TAG) not in {"bool", "int", "float"}]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(f"{_TAG}bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), [*"tTfF"])
_Loader.add_implicit_resolver(
    f"{_TAG}int",
    re.compile(r"^[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9A-Fa-f_]+|0|[1-9][0-9_]*)$"),
    [*"-+0123456789"],
)
_Loader.add_implicit_resolver(
    f"{_TAG}float",
    re.compile(
        r"^[-+]?(?:(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF))$|^\.(?:nan|NaN|NAN)$"
    ),
    [*"-+0123456789."],
)
_Loader.add_constructor(f"{_TAG}timestamp", _Loader.construct_date)


def read_yaml(file: Path) -> Any:
    """The content of Pulumi.yaml or of a stack file. Raises `OSError`, `ValueError` or `yaml.YAMLError`."""
    return yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader


def split(config: Mapping[str, Any], project: str) -> tuple[dict[str, Any], list[str]]:
    """The decoded sections of a stack's config, by name, and its keys in namespaces other than the project's.

    In a stack file, a key without a namespace is the project's (pulumi, sdk/go/common/workspace/loaders.go).
    """
    prefix = f"{project}:"
    config = {key if ":" in key else f"{prefix}{key}": value for key, value in config.items()}
    ours = {key.removeprefix(prefix): value for key, value in config.items() if key.startswith(prefix)}
    foreign = [key for key in config if not key.startswith(prefix)]
    # When Pulumi writes the file, it writes a boolean as a string.
    decoded = {name: _decoded(name, value) if isinstance(value, str) else value for name, value in ours.items()}
    return decoded, foreign


def _decoded(section: str, value: str) -> Any:
    """The value of a string from Pulumi, which passes mappings and booleans as JSON, and strings unchanged."""
    if section == "namespace":
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
