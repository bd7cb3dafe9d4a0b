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


def test_a_go_module_has_the_versions_that_are_compared_with_its_own() -> None:
    """Otherwise no release is ever newer: k8s.io/component-base is v0.36.3 where Kubernetes is v1.36.3."""
    modules = "".join(file.read_text(encoding="utf-8") for file in REPOSITORY.glob("rehearsal/toolchain/*/go.mod"))
    for manager in RENOVATE["customManagers"]:
        if manager["datasourceTemplate"] == "go":
            name = manager["depNameTemplate"]
            assert {f"{name} {version}" in modules for _, version in matches(manager)} == {True}, name


def test_a_tool_that_is_updated_can_be_built() -> None:
    """`go get ./...`, which Renovate runs by itself, finds no package here, so go.sum would lack the tool."""
    modules = [file.parent for file in REPOSITORY.glob("rehearsal/toolchain/*/go.mod")]
    assert any(not list(module.glob("*.go")) for module in modules)
    assert "gomodTidy" in RENOVATE.get("postUpdateOptions", ())


def defaults(files: str) -> set[tuple[str, ...]]:
    """Every image that is a setting's default in these files: name, version and digest."""
    return {
        (each["depName"], each["currentValue"], each["currentDigest"] or "")
        for manager in RENOVATE["customManagers"]
        if manager["datasourceTemplate"] == "docker"
        for name in FILES
        if re.search(files, name) and any(re.search(one.strip("/"), name) for one in manager["managerFilePatterns"])
        for expression in manager["matchStrings"]
        for each in re.finditer(expression.replace("(?<", "(?P<"), (REPOSITORY / name).read_text(encoding="utf-8"))
    }


def test_another_default_image_also_reaches_the_schema() -> None:
    assert defaults(r"^settings/") == defaults(r"^stack\.schema\.json$") != set()


def setting(key: str, **dependency: str) -> Any:
    """The value that applies to a dependency: of the last rule that matches it, or else the general one."""
    found = RENOVATE.get(key)
    for rule in RENOVATE["packageRules"]:
        conditions = {
            "matchDatasources": dependency.get("datasource"),
            "matchDepNames": dependency.get("name"),
            "matchUpdateTypes": dependency.get("update"),
        }
        if all(value in rule[condition] for condition, value in conditions.items() if condition in rule):
            found = rule.get(key, found)
    return found


@pytest.mark.parametrize("name", ["postgres", "ghcr.io/cloudnative-pg/postgresql", "node"])
def test_an_image_whose_age_no_registry_tells_is_proposed(name: str) -> None:
    """Renovate knows it only for images on Docker Hub with less than about a thousand tags; without it, it waits."""
    assert setting("minimumReleaseAge", datasource="docker", name=name) is not None
    behaviour = setting("minimumReleaseAgeBehaviour", datasource="docker", name=name)
    assert behaviour == "timestamp-optional", "the default, timestamp-required, holds every release back for ever"


def test_what_a_registry_tells_the_age_of_has_to_have_it() -> None:
    assert setting("minimumReleaseAgeBehaviour", datasource="pypi", name="httpx") is None


def release(version: str) -> list[int] | None:
    """A version of PostgreSQL's image as Renovate's `regex` versioning compares it; None if it ignores it."""
    kind, _, expression = setting("versioning", datasource="docker", name="postgres").partition(":")
    assert kind == "regex"
    if (found := re.search(expression.replace("(?<", "(?P<"), version)) is None:
        return None
    return [int(found[part]) for part in ("major", "minor", "patch", "build")]


def test_a_minor_release_on_a_later_alpine_is_proposed() -> None:
    """Each version of Alpine is dropped after a year; the usual versioning for images never leaves it."""
    ((_, current, _),) = (one for one in defaults(r"^settings/") if one[0] == "postgres")
    tags = ["18.6-alpine3.9", "18.7-alpine3.30", "18.7-alpine3.29", "18.12-alpine3.29"]
    newest = max(tags, key=lambda tag: release(tag) or [])
    assert newest == "18.12-alpine3.29"
    assert (release("18.999-alpine3.99") or []) > (release(current) or []) > (release("18.0-alpine3.99") or [])


@pytest.mark.parametrize("tag", ["18.7", "18.7-trixie", "18-alpine", "18.7-alpine", "alpine3.29", "19beta1-alpine3.29"])
def test_an_image_that_is_less_certain_or_sorts_otherwise_is_not_proposed(tag: str) -> None:
    assert release(tag) is None


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_the_python_packages_are_updated_in_their_sources_and_locked_again(name: str) -> None:
    """Renovate runs the command in a lock file's header, unless it has an option that Renovate does not know."""
    header = re.match(r"(?:#.*\n)+?# {4}(\S+)( .*)?\n", (REPOSITORY / name).read_text(encoding="utf-8"))
    assert header is not None
    assert any(re.search(one.strip("/"), name) for one in RENOVATE["pip-compile"]["managerFilePatterns"])
    assert header[1] == "uv", "a command of our own is not run"
    words = (header[2] or "").split()
    options = {word for word in words if word.startswith("-")}
    assert words[:2] == ["pip", "compile"]
    assert options == {"--universal", "--python-version=3.11", "--generate-hashes", f"--output-file={name}"}
    assert [word for word in words[2:] if word not in options] == [name.replace(".txt", ".in")]
    lock = next(line for line in recipe("lock") if f"--output-file={name}" in line)
    assert {word for word in lock.split() if word.startswith("-")} - options <= {"--quiet"}, (
        "another lock, another header"
    )


def recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile."""
    (found,) = re.findall(rf"(?m)^{target}:.*\n((?:\t.*\n)+)", (REPOSITORY / "Makefile").read_text(encoding="utf-8"))
    return [line.strip() for line in found.splitlines()]


def test_lock_files_are_not_updated_beside_their_sources() -> None:
    """Renovate's pip_requirements also takes them for its own by default, and would leave requirements.in as it is."""
    taken = [name for name in FILES if re.search(r"(^|/)[\w-]*requirements([-._]\w+)?\.(txt|pip)$", name)]
    assert taken == [] or not RENOVATE.get("pip_requirements", {}).get("enabled", True), taken


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
    (group,) = (rule for rule in RENOVATE["packageRules"] if "bun" in rule.get("matchDepNames", ()))
    assert "oven/bun" in group["matchDepNames"]
