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


PINS = {
    r"^components/.+\.py$": r"\"[a-z0-9./-]+:(v?[0-9][\w.-]*)(?:@sha256:[0-9a-f]{64})?\"",
    r"^settings/.+\.py$": r"Image = (?:\(\s*)?\"[^\":]+:([\w.-]+)",
    r"^ci/.+\.yml$": r"(?:JOBS_IMAGE: \S+:|npm install --global \S+@)(\S+)",
}
"""How versions look, by file, in places where no built-in manager of Renovate looks."""


def test_every_version_that_no_built_in_manager_finds_is_found() -> None:
    found = {each for manager in RENOVATE["customManagers"] for each in matches(manager)}
    pinned = {
        (name, version)
        for name in FILES
        for files, pin in PINS.items()
        if re.search(files, name)
        for version in re.findall(pin, (REPOSITORY / name).read_text(encoding="utf-8"))
    }
    assert {name.partition("/")[0] for name, _ in pinned} == {"ci", "components", "settings"}
    assert sorted(pinned - found) == []


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


def test_the_app_is_tested_with_the_bun_that_builds_it() -> None:
    versions(("ci/app.gitlab-ci.yml",), r"oven/bun:([0-9.]+)", r"bun@([0-9.]+)")
    (group,) = (rule for rule in RENOVATE["packageRules"] if "bun" in rule["matchDepNames"])
    assert "oven/bun" in group["matchDepNames"]
