"""This repository's own pipeline: its jobs run against the rehearsal's systems and state."""

from __future__ import annotations

import datetime as dt
import json
import re
import secrets
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from platformdirs import user_cache_path

from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.homelab import HOSTNAMES
from rehearsal.lifecycle import Lifecycle
from rehearsal.pipeline import InfrastructureRepository, Run
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools
from rehearsal.vendors.gitlab import MAINTAINER, REPORTER
from tests.pages import REPOSITORY, commands
from tests.rehearsal.backed_up import BackedUp
from tests.rehearsal.cleanup import rehearsed
from tests.rehearsal.stack_files import write_stack_files

MERGE_REQUEST = "merge_request_event"
RESULTS = "invoicetron-backup-results"
PAGE = REPOSITORY / "docs" / "merge-requests.md"


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The live stack dev, GitLab's variables as docs/merge-requests.md has them set, and a merge request."""

    rehearsal: Rehearsal
    url: str
    merge_request: int

    def clone(self, directory: Path, *, branch: str) -> InfrastructureRepository:
        repository = InfrastructureRepository(directory / "clone", branch=branch)
        write_stack_files(repository.clone)  # those with which the stack was brought up
        return repository

    def run(self, clone: InfrastructureRepository, job: str, *, runner: bool = True, **more: str) -> Run:
        """Runs a job on a runner of the homelab, or (`runner=False`) on one that has nothing but the tools."""
        # These jobs use no cache of GitLab's, so the rehearsal looks for its tools where this machine has them.
        tools = {"PATH": str(self.rehearsal.tools.pulumi.parent), "XDG_CACHE_HOME": str(user_cache_path())}
        inside = ("PATH", "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION", "GITLAB_BASE_URL", "CLOUDFLARE_BASE_URL")
        source = "push" if clone.branch == "main" else MERGE_REQUEST
        given = {"CI_SERVER_URL": self.url, "CI_JOB_URL": "https://gitlab.example.com/job/1", **more}
        if source == MERGE_REQUEST:
            given["CI_MERGE_REQUEST_IID"] = str(self.merge_request)
        run = clone.run(
            job,
            self.rehearsal.gitlab.infrastructure,
            source=source,
            variables=given,
            runner={name: self.rehearsal.program.environment[name] for name in inside} if runner else tools,
        )
        self.keeps_secrets(run.output)
        return run

    @property
    def comments(self) -> list[str]:
        notes = self.rehearsal.gitlab.infrastructure.merge_requests.notes(str(self.merge_request), {"sort": "asc"})
        for note in notes:
            self.keeps_secrets(note["body"])
        return [note["body"] for note in notes]

    def keeps_secrets(self, text: str) -> None:
        for secret in self.rehearsal.gitlab.handed_out | self.rehearsal.onepassword.handed_out:
            assert len(secret) < 8 or secret not in text


@pytest.fixture(scope="module")
def live(tools: Tools, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    directory = tmp_path_factory.mktemp("stack-pipeline")
    with rehearsed(tools, control_plane, directory / "rehearsal") as one:
        one.program.init("dev")
        one.program.up("dev", "--skip-preview")
        set_variables(one)
        yield one
        one.kubectl("delete", "clusterrolebinding,clusterrole", "preview", "preview-record", "preview-results")
        one.kubectl("delete", "serviceaccount", "preview", "-n", "default")


@pytest.fixture
def pipeline(live: Rehearsal) -> Pipeline:
    url = live.program.environment["GITLAB_BASE_URL"].removesuffix("/api/v4/")
    return Pipeline(rehearsal=live, url=url, merge_request=live.gitlab.infrastructure.merge_requests.open())


def set_variables(rehearsal: Rehearsal) -> None:
    """Sets what docs/merge-requests.md has a maintainer set: all protected except the token for comments."""
    project = rehearsal.gitlab.infrastructure
    project.branches.protect({"name": "trusted/*"})
    environment = rehearsal.program.environment
    shared = {name: environment[name] for name in ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE", "OP_CONNECT_HOST")}
    reading = {
        "KUBECONFIG": read_only_kubeconfig(rehearsal),
        "OP_CONNECT_TOKEN": rehearsal.onepassword.issue_token("Kubernetes", write=False),
        "GITLAB_TOKEN": rehearsal.gitlab.issue_token("read_api", level=MAINTAINER),
    }
    writing = {
        "KUBECONFIG": rehearsal.control_plane.kubeconfig.read_text(),
        **{name: environment[name] for name in ("OP_CONNECT_TOKEN", "GITLAB_TOKEN")},
    }
    for scope, own in {"preview/dev": reading, "dev": writing}.items():
        for key, value in {**shared, **own}.items():
            set_protected(rehearsal, scope, key, value)
    for scope in ("prod", "preview/prod"):
        set_protected(rehearsal, scope, "PULUMI_CONFIG_PASSPHRASE", secrets.token_urlsafe())
    note_token = rehearsal.gitlab.issue_token("api", level=REPORTER)
    project.variables.create({"key": "GITLAB_NOTE_TOKEN", "value": note_token, "masked": True})


def set_protected(rehearsal: Rehearsal, scope: str, key: str, value: str) -> None:
    variable = {"key": key, "value": value, "environment_scope": scope, "protected": True}
    kind = {"variable_type": "file"} if key == "KUBECONFIG" else {"masked": not key.endswith(("URL", "HOST"))}
    rehearsal.gitlab.infrastructure.variables.create({**variable, **kind})


def read_only_kubeconfig(rehearsal: Rehearsal) -> str:
    """The kubeconfig of an account that may only look, made as docs/merge-requests.md says."""
    name, account = "preview", "default:preview"
    rehearsal.kubectl("create", "serviceaccount", name, "-n", "default")
    (role,) = (each for each in commands(PAGE) if each.startswith(f"kubectl create clusterrole {name} "))
    rehearsal.kubectl(*shlex.split(role)[1:])
    rehearsal.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount={account}")
    rehearsal.kubectl(
        *("create", "clusterrole", "preview-record", "--verb=create,patch", "--resource=leases.coordination.k8s.io"),
        *("--resource-name=invoicetron-dev-drift", "--resource-name=invoicetron-dev-verify"),
    )
    rehearsal.kubectl(
        *("create", "clusterrolebinding", "preview-record", "--clusterrole=preview-record"),
        f"--serviceaccount={account}",
    )
    rehearsal.kubectl(
        *("create", "clusterrole", "preview-results", "--verb=create,patch"),
        *("--resource=prometheusrules.monitoring.coreos.com", "--resource-name=invoicetron-backup-results"),
    )
    rehearsal.kubectl(
        *("create", "clusterrolebinding", "preview-results", "--clusterrole=preview-results"),
        f"--serviceaccount={account}",
    )
    config: dict[str, Any] = yaml.safe_load(rehearsal.control_plane.kubeconfig.read_text())
    for user in config["users"]:
        user["user"] = {"token": rehearsal.kubectl("create", "token", name, "-n", "default").strip()}
    return yaml.safe_dump(config)


def change(clone: InfrastructureRepository, key: str, value: str | bool) -> None:
    """Changes one setting in the branch's stack file."""
    file = clone.clone / "Pulumi.dev.yaml"
    config = yaml.safe_load(file.read_text())
    section, _, name = key.partition(".")
    config["config"].setdefault(f"invoicetron:{section}", {})[name] = value
    file.write_text(yaml.safe_dump(config))


def report(clone: InfrastructureRepository) -> dict[str, int]:
    counts: dict[str, int] = json.loads((clone.clone / "preview-report.json").read_text())
    return counts


def test_a_trusted_branch_shows_the_live_stack_s_changes_in_one_comment_that_is_edited(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    clone = pipeline.clone(tmp_path, branch="trusted/hostname")
    change(clone, "access.hostname", HOSTNAMES["dev"])
    run = pipeline.run(clone, "preview:dev")
    assert run.passed, run.output
    assert "route" in run.output
    (first,) = pipeline.comments
    assert "`spec.hostnames[0]`" in first
    assert "rehearsal" not in first
    counts = report(clone)
    assert (counts["create"], counts["delete"]) == (0, 0)
    assert counts["update"] > 0
    # The next pipeline of the same merge request undoes the change.
    change(clone, "access.hostname", "invoicetron.dev.k8s.rommelporras.com")
    assert pipeline.run(clone, "preview:dev").passed
    (second,) = pipeline.comments
    assert "No changes." in second
    assert report(clone) == {"create": 0, "update": 0, "delete": 0}


def test_a_failing_preview_fails_the_job_and_the_reviewer_sees_it(pipeline: Pipeline, tmp_path: Path) -> None:
    clone = pipeline.clone(tmp_path, branch="trusted/mistake")
    change(clone, "access.hostname", "no hostname")
    run = pipeline.run(clone, "preview:dev")
    assert not run.passed
    assert "invoicetron:access.hostname" in run.output
    (comment,) = pipeline.comments
    assert "**The preview failed.**" in comment
    assert report(clone) == {}


def test_an_untrusted_branch_sees_no_credential_and_shows_the_rehearsal(pipeline: Pipeline, tmp_path: Path) -> None:
    clone = pipeline.clone(tmp_path, branch="feature")
    project = pipeline.rehearsal.gitlab.infrastructure
    for job in ("preview:dev", "preview:prod"):
        assert set(project.variables_for("feature", clone.environment(job))) == {"GITLAB_NOTE_TOKEN"}
    run = pipeline.run(clone, "preview:dev", runner=False)
    assert run.passed, run.output
    assert "has no credentials of stack dev" in run.output
    (comment,) = pipeline.comments
    assert "**rehearsal's** preview" in comment
    assert report(clone)["create"] > 40


@pytest.mark.parametrize("job", ["preview:dev", "preview:prod"])
def test_a_credential_that_somebody_forgot_to_protect_is_found_and_not_used(
    pipeline: Pipeline, tmp_path: Path, job: str
) -> None:
    clone = pipeline.clone(tmp_path, branch="feature")
    run = pipeline.run(clone, job, PULUMI_CONFIG_PASSPHRASE=secrets.token_urlsafe())
    assert not run.passed
    assert "can read PULUMI_CONFIG_PASSPHRASE" in run.output
    assert not pipeline.comments


def test_up_applies_what_was_merged_and_keeps_the_app_s_image(pipeline: Pipeline, tmp_path: Path) -> None:
    lifecycle = Lifecycle(pipeline.rehearsal, "dev")
    lifecycle.deploy(lifecycle.image)
    clone = pipeline.clone(tmp_path, branch="main")
    change(clone, "access.hostname", HOSTNAMES["dev"])
    run = pipeline.run(clone, "up:dev")
    assert run.passed, run.output
    app = pipeline.rehearsal.kubectl("-n", lifecycle.namespace, "get", "deployment", "invoicetron", "-o", "json")
    assert lifecycle.image in app
    assert HOSTNAMES["dev"] in app


def test_drift_is_reported_and_the_app_s_image_does_not_count_as_drift(pipeline: Pipeline, tmp_path: Path) -> None:
    lifecycle = Lifecycle(pipeline.rehearsal, "dev")
    clone = pipeline.clone(tmp_path, branch="main")
    change(clone, "monitoring.dashboard", True)
    assert pipeline.run(clone, "up:dev").passed
    lifecycle.deploy(lifecycle.image)
    stack = BackedUp(rehearsal=pipeline.rehearsal)
    stack.fill(count=5)
    stack.run("invoicetron-db-backup", "backup-now")
    run = pipeline.run(clone, "drift:dev")
    assert run.passed, run.output
    assert "Recorded in the Lease" in run.output
    path = "--output=jsonpath={.spec.groups[*].rules[*].expr}"
    rows = pipeline.rehearsal.kubectl("-n", lifecycle.namespace, "get", "prometheusrule", RESULTS, path)
    assert re.fullmatch(r"vector\([1-9]\d*\) vector\([1-9]\d*\) vector\(\d+\)", rows), "rows, bytes, seconds"
    recorded = passed(pipeline.rehearsal, "invoicetron-dev-drift")
    assert dt.timedelta() <= dt.datetime.now(dt.UTC) - recorded < dt.timedelta(minutes=5)
    service = ["-n", lifecycle.namespace, "patch", "service", "invoicetron", "--type=merge", "-p"]
    pipeline.rehearsal.kubectl(*service, json.dumps({"metadata": {"labels": {"app": "something-else"}}}))
    run = pipeline.run(clone, "drift:dev")
    assert not run.passed
    assert "no changes were expected" in run.output
    assert "app-service" in run.output
    assert passed(pipeline.rehearsal, "invoicetron-dev-drift") == recorded


def passed(rehearsal: Rehearsal, lease: str) -> dt.datetime:
    """When the check of this Lease last passed."""
    path = "--output=jsonpath={.spec.renewTime}"
    return dt.datetime.fromisoformat(rehearsal.kubectl("-n", "invoicetron-dev", "get", "lease", lease, path))


def test_a_reset_recreates_the_stack(pipeline: Pipeline, tmp_path: Path) -> None:
    def uid() -> str:
        return pipeline.rehearsal.kubectl("get", "namespace", "invoicetron-dev", "-o", "jsonpath={.metadata.uid}")

    before = uid()
    run = pipeline.run(pipeline.clone(tmp_path, branch="main"), "reset:dev")
    assert run.passed, run.output
    assert uid() != before


def test_a_job_without_the_variables_says_what_to_do_before_anything_runs(pipeline: Pipeline, tmp_path: Path) -> None:
    run = pipeline.run(pipeline.clone(tmp_path, branch="feature"), "up:dev")
    assert not run.passed
    assert "PULUMI_BACKEND_URL: is not set: see docs/merge-requests.md" in run.output
