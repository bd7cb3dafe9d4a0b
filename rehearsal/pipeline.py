"""Runs a pipeline's jobs as GitLab would, with the variables that GitLab holds, through npm's `gitlab-ci-local`.

The jobs run in this machine's shell instead of their images: `pulumi`, `kubectl` and `curl` come from PATH.
`gitlab-ci-local` includes GitLab's JSON schema and checks the pipeline against it before it runs anything.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from string import Template
from typing import Any

import yaml
from platformdirs import user_cache_path

from rehearsal.homelab import APP_PROJECT, GITLAB, INFRASTRUCTURE_PROJECT
from rehearsal.npm import NODE, installed
from rehearsal.vendors.gitlab import Project

REPOSITORY = Path(__file__).parents[1]
PIPELINE = REPOSITORY / "ci" / "app.gitlab-ci.yml"
DOCKER = REPOSITORY / "ci" / "docker.gitlab-ci.yml"
ROLLBACK = REPOSITORY / "ci" / "rollback.gitlab-ci.yml"


# gitlab-ci-local copies the repository for jobs that run in containers. The jobs here run in the clone itself; only
# what one job passes on to another (`reports: dotenv`) is copied.
_RSYNC = """#!/bin/sh
for target; do :; done
mkdir -p "$target"
[ "$1" != -Ra ] || cp --parents "$2" "$target"
"""

_OURS = (
    "CI_API_V4_URL",
    "CI_COMMIT_BRANCH",
    "CI_COMMIT_REF_PROTECTED",
    "CI_COMMIT_SHORT_SHA",
    "CI_ENVIRONMENT_NAME",
    "CI_JOB_TOKEN",
    "CI_JOB_URL",
    "CI_PIPELINE_SOURCE",
    "CI_PROJECT_DIR",
    "CI_PROJECT_ID",
    "CI_SERVER_URL",
)
"""Predefined variables that a rehearsal sets itself, without a warning from gitlab-ci-local."""


class PipelineError(Exception):
    """The pipeline is not valid, or git failed; the message holds the output of gitlab-ci-local or git."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """How one job ended."""

    output: str
    """The job's log, without GitLab's masking."""
    passed: bool


class Repository:
    """A clone of a GitLab repository on one branch, with what `gitlab-ci-local` needs to run its pipeline."""

    remote: str
    """The URL that it was cloned from, as git writes it."""

    def __init__(self, directory: Path, *, branch: str) -> None:
        self.branch = branch
        self._script = installed("gitlab-ci-local") / "gitlab-ci-local" / "dist" / "index.js"
        self._home = directory / "home"
        self._bin = directory / "bin"
        self.clone = directory / "clone"
        for each in (self._home, self._bin, self.clone):
            each.mkdir(parents=True)
        if shutil.which("rsync") is None:
            (self._bin / "rsync").write_text(_RSYNC)
            (self._bin / "rsync").chmod(0o755)

    def commit(self) -> str:
        """Makes a commit; returns its short hash, as GitLab's CI_COMMIT_SHORT_SHA has it."""
        self._git("commit", "--quiet", "--allow-empty", "--message", "change")
        return self._git("rev-parse", "--short=8", "HEAD").strip()

    def jobs(self, *, source: str = "push") -> dict[str, Mapping[str, Any]]:
        """The jobs of a pipeline with this source, by name. Raises `PipelineError` if the pipeline is not valid."""
        listed = self._gitlab_ci_local(["--list-json"], _source(source))
        if listed.returncode:
            raise PipelineError(listed.stderr)
        return {job["name"]: job for job in json.loads(listed.stdout) if job["when"] != "never"}

    @cached_property
    def definitions(self) -> Mapping[str, Mapping[str, Any]]:
        """The jobs after `include` and `extends` have been resolved."""
        expanded = self._gitlab_ci_local(["--preview"], {})
        if expanded.returncode:
            raise PipelineError(expanded.stderr)
        pipeline: Mapping[str, Any] = yaml.safe_load(expanded.stdout)
        return {name: job for name, job in pipeline.items() if isinstance(job, dict) and "script" in job}

    def environment(self, job: str) -> str:
        """The name of the job's environment, which decides which variables it sees; empty for a job without one."""
        name: str = self._environment(job).get("name", "")
        return name

    def _environment(self, job: str) -> Mapping[str, str]:
        found: Mapping[str, str] = self.definitions[job].get("environment", {})
        return found

    def run(
        self,
        job: str,
        project: Project,
        *,
        source: str = "push",
        variables: Mapping[str, str] | None = None,
        runner: Mapping[str, str] | None = None,
    ) -> Run:
        """Runs one job of a pipeline with this source and the variables that `project` lets the job see.

        `variables` override GitLab's. `runner`: the runner's own environment, such as PATH (put before this machine's).
        """
        protected = json.dumps(project.branches.protects(self.branch))
        seen = project.variables_for(self.branch, self.environment(job))
        given = {
            "CI_COMMIT_REF_PROTECTED": protected,
            "CI_PROJECT_DIR": str(self.clone),  # otherwise a container's folder, at the root of this machine
            "CI_PROJECT_ID": str(project.id),
            "CI_ENVIRONMENT_NAME": self.environment(job),
            # For tests that set no other; gitlab-ci-local's own would be GitLab's real address.
            "CI_API_V4_URL": "http://127.0.0.1:9/api/v4",
            "CI_JOB_TOKEN": "none",
            **_source(source),
            **seen,
            **self._id_tokens(job, project, seen),
        }
        # In a file in the clone, so that no value is ever a process argument.
        file = self.clone / ".gitlab-ci-local-variables.yml"
        file.touch(mode=0o600)
        file.write_text(yaml.safe_dump(self._typed({**given, **(variables or {})}, project)))
        done = self._gitlab_ci_local([job, "--force-shell-executor"], {}, runner)
        environment = self._environment(job)
        if done.returncode == 0 and environment and environment.get("action", "start") == "start":
            commit = self._git("rev-parse", "HEAD").strip()
            project.deployments.add(environment["name"], commit, self.branch)
        return Run(output=done.stdout + done.stderr, passed=done.returncode == 0)

    def _typed(self, variables: Mapping[str, str], project: Project) -> dict[str, dict[str, Any]]:
        """Each variable in gitlab-ci-local's form; for one of type file, the path of a file with the value.

        Beside the clone, as the runner does it. gitlab-ci-local would leave such files in /tmp, one for each job.
        """
        files = {variable["key"] for variable in project.variables.entries({}) if variable["variable_type"] == "file"}
        folder = self.clone.with_suffix(".tmp")
        folder.mkdir(mode=0o700, exist_ok=True)
        seen = dict(variables)
        for name in files & variables.keys():
            (folder / name).write_text(variables[name])
            seen[name] = str(folder / name)
        return {name: {"type": "variable", "values": {"*": value}} for name, value in seen.items()}

    def _id_tokens(self, job: str, project: Project, variables: Mapping[str, str]) -> dict[str, str]:
        """The job's ID tokens as GitLab signs them; expands variables in the audience (`expanded_id_token_aud`)."""
        values = defaultdict(str, variables)  # an unknown variable expands to nothing
        wanted: Mapping[str, Any] = self.definitions[job].get("id_tokens", {})
        environment = self.environment(job) or None
        return {
            name: project.id_token(self.branch, environment, audience=Template(token["aud"]).substitute(values))
            for name, token in wanted.items()
        }

    def _initialize(self) -> None:
        """Commits the clone's content as its first commit, which `origin` has, too."""
        self._git("init", "--quiet", f"--initial-branch={self.branch}")
        self._git("config", "user.name", "Developer")
        self._git("config", "user.email", "developer@example.com")
        self._git("remote", "add", "origin", self.remote)
        self._git("add", "--all")
        self.commit()
        self._git("update-ref", "refs/remotes/origin/main", "HEAD")
        self._git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")

    def _gitlab_ci_local(
        self, arguments: list[str], variables: Mapping[str, str], runner: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        given = [part for name, value in variables.items() for part in ("--variable", f"{name}={value}")]
        machine = dict(runner or {})
        folders = [str(self._bin), *filter(None, [machine.pop("PATH", "")]), str(NODE.parent), os.environ["PATH"]]
        return subprocess.run(
            [str(NODE), str(self._script), *arguments, *given, "--ignore-predefined-vars", ",".join(_OURS)],
            cwd=self.clone,
            env={"PATH": os.pathsep.join(folders), "HOME": str(self._home), **machine},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def _git(self, *arguments: str) -> str:
        return _checked(["git", *arguments], self.clone)


class AppRepository(Repository):
    """A clone of the app's repository that holds only the pipeline that it includes."""

    remote = f"git@{GITLAB}:{APP_PROJECT}.git"

    def __init__(self, directory: Path, *, branch: str, pipeline: str | None = None) -> None:
        super().__init__(directory, branch=branch)
        (self.clone / ".gitlab-ci.yml").write_text("include:\n  - local: app.gitlab-ci.yml\n")
        (self.clone / "app.gitlab-ci.yml").write_text(pipeline or PIPELINE.read_text())
        (self.clone / "ci").mkdir()
        _without_services(DOCKER, self.clone / "ci" / DOCKER.name)
        shutil.copy(ROLLBACK, self.clone / "ci")
        self._initialize()

    @property
    def curlrc(self) -> Path:
        """Settings of the jobs' `curl`, for a test that points a host name to loopback."""
        return self._home / ".curlrc"


class InfrastructureRepository(Repository):
    """A clone of this repository, mostly links; already holds what its jobs would install or take from a cache."""

    remote = f"git@{GITLAB}:{INFRASTRUCTURE_PROJECT}.git"

    def __init__(self, directory: Path, *, branch: str) -> None:
        super().__init__(directory, branch=branch)
        for source in REPOSITORY.iterdir():
            if source.name in {".gitlab-ci.yml", ".gitignore"} or source.match("Pulumi*.yaml"):
                shutil.copy(source, self.clone)
            elif source.name == "ci":  # gitlab-ci-local does not include files through a link
                shutil.copytree(source, self.clone / source.name)
                _without_services(DOCKER, self.clone / source.name / DOCKER.name)
            elif source.name == ".venv" or not source.name.startswith("."):
                (self.clone / source.name).symlink_to(source)
        cache = self.clone / ".cache" / "invoicetron-infra"
        cache.parent.mkdir()
        cache.symlink_to(user_cache_path("invoicetron-infra"))
        self._initialize()


def _without_services(pipeline: Path, copy: Path) -> None:
    """Copies a pipeline without its services, which gitlab-ci-local would start with this machine's docker.

    Jobs find the docker that a test puts into PATH.
    """
    copy.write_text(re.sub(r"\n  services: .*", "", pipeline.read_text()))


def _source(source: str) -> dict[str, str]:
    """The variables that tell a job the source of its pipeline. A merge request's pipeline has no branch."""
    variables = {"CI_PIPELINE_SOURCE": source}
    return {**variables, "CI_COMMIT_BRANCH": ""} if source == "merge_request_event" else variables


def _checked(command: list[str], directory: Path) -> str:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise PipelineError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
