"""renovate.json finds every version that its built-in managers do not know, and keeps all places in step."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.pages import REPOSITORY

RENOVATE = json.loads((REPOSITORY / "renovate.json").read_text(encoding="utf-8"))
FILES = [
    file.relative_to(REPOSITORY).as_posix()
    for folder in (
        ".",
        "ci",
        "components",
        "rehearsal",
        "settings",
        "rehearsal/toolchain/pulumi",
        "rehearsal/toolchain/kubernetes",
    )
    for file in (REPOSITORY / folder).iterdir()
    if file.is_file()
]


def matches(manager: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The file and version of everything that a custom manager finds."""
    found = []
    for name in FILES:
        if any(re.search(pattern.strip("/"), name) for pattern in manager["managerFilePatterns"]):
            text = (REPOSITORY / name).read_text(encoding="utf-8")
            for expression in manager["matchStrings"]:
                python = expression.replace("(?<", "(?P<")
                found += [(name, each["currentValue"]) for each in re.finditer(python, text)]
    return found


@pytest.mark.parametrize("manager", RENOVATE["customManagers"], ids=lambda manager: manager["description"][:30])
def test_every_custom_manager_finds_what_it_is_for(manager: Mapping[str, Any]) -> None:
    files = {name for name, _ in matches(manager)}
    for pattern in manager["managerFilePatterns"]:
        assert any(re.search(pattern.strip("/"), name) for name in files), f"nothing found by {pattern}"


def versions(files: Sequence[str], *expressions: str) -> dict[str, str]:
    """What each file says the version is, without `v`."""
    said = {}
    for name in files:
        text = (REPOSITORY / name).read_text(encoding="utf-8")
        (version,) = {found[1] for expression in expressions for found in re.finditer(expression, text)}
        said[name] = version
    return said


ENGINE = (
    "requirements.in",
    "rehearsal/toolchain.py",
    "rehearsal/toolchain/pulumi/go.mod",
    "ci/Dockerfile",
    "ci/stack.gitlab-ci.yml",
)


def test_all_places_of_the_engines_version_agree() -> None:
    said = versions(
        ENGINE,
        r"(?m)^pulumi==([0-9.]+)$",
        r"go/common/version\.Version=v([0-9.]+)",
        r"github\.com/pulumi/pulumi/[a-z]+/v3 v([0-9.]+)",
        r"pulumi/pulumi-python-3\.[0-9]+:([0-9.]+)",
    )
    assert len(set(said.values())) == 1, said


def test_the_exporter_that_the_tests_run_is_the_pods_own() -> None:
    files = ("components/postgres_exporter.py", "rehearsal/toolchain/postgres-exporter/go.mod")
    said = versions(files, r"postgres-exporter:v([0-9.]+)", r"prometheus-community/postgres_exporter v([0-9.]+)")
    assert len(set(said.values())) == 1, said
