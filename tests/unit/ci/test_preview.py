"""Which credentials a preview job may see."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner, Result

from ci.preview import BACKEND, CREDENTIALS, ExposedError, app, is_live
from rehearsal.vendors.gitlab import REPORTER, GitLab
from rehearsal.vendors.server import serve

ENGINE = """#!/bin/sh
printf '%s\\n' "$*" "$PULUMI_ENABLE_STREAMING_JSON_PREVIEW" >arguments
echo '{"summaryEvent": {"result": "succeeded"}}'
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of a live preview's job, with a `pulumi` that records its arguments."""
    (tmp_path / "pulumi").write_text(ENGINE)
    (tmp_path / "pulumi").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    for name in (*CREDENTIALS, *BACKEND):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CI_COMMIT_REF_PROTECTED", "true")
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-live")
    return monkeypatch


def run(*options: str) -> Result:
    return CliRunner().invoke(app, ["dev", *options])


def update(name: str, kind: str, before: dict[str, str], after: dict[str, str]) -> str:
    """A line of the engine's stream: one resource that would be updated."""
    urn = f"urn:pulumi:dev::shop::{kind}::{name}"
    metadata = {
        "op": "update",
        "urn": urn,
        "type": kind,
        "old": {"type": kind, "inputs": before},
        "new": {"type": kind, "inputs": after},
        "detailedDiff": {key: {"diffKind": "update", "inputDiff": True} for key in after},
    }
    return json.dumps({"resourcePreEvent": {"metadata": metadata}})


def test_a_job_without_credentials_shows_the_rehearsal() -> None:
    assert not is_live({"CI_COMMIT_REF_PROTECTED": "true", "GITLAB_NOTE_TOKEN": "glpat-note", "KUBECONFIG": ""})


def test_a_job_of_a_protected_branch_shows_the_live_stack() -> None:
    assert is_live({"CI_COMMIT_REF_PROTECTED": "true", "PULUMI_CONFIG_PASSPHRASE": "correct horse"})


@pytest.mark.parametrize("protected", [{}, {"CI_COMMIT_REF_PROTECTED": "false"}])
@pytest.mark.parametrize("name", [*CREDENTIALS, *BACKEND])
def test_any_credential_in_a_job_of_an_unprotected_branch_is_refused_by_name(
    name: str, protected: dict[str, str]
) -> None:
    with pytest.raises(ExposedError, match=name) as refused:
        is_live({**protected, name: "hunter2hunter2"})
    assert "hunter2" not in str(refused.value)


def test_a_backend_url_is_refused_only_if_it_contains_a_login() -> None:
    assert not is_live({"PULUMI_BACKEND_URL": "s3://state?region=eu-central-1"})
    with pytest.raises(ExposedError, match="PULUMI_BACKEND_URL") as refused:
        is_live({"PULUMI_BACKEND_URL": "postgres://pulumi:hunter2@db.example.com/state"})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("name", BACKEND)
def test_credentials_for_the_state_alone_show_the_rehearsal(name: str) -> None:
    assert not is_live({"CI_COMMIT_REF_PROTECTED": "true", name: "x", "PULUMI_BACKEND_URL": "postgres://a:b@c/d"})


def test_a_live_preview_is_checked_by_the_policy_pack_and_streamed(job: pytest.MonkeyPatch) -> None:
    job.delenv("CI_MERGE_REQUEST_IID", raising=False)
    assert run().exit_code == 0
    called, streaming = Path("arguments").read_text().splitlines()
    assert called.split(" ", 1)[0] == "preview"
    assert f"--cwd . --stack dev --json --policy-pack {Path('policies').absolute()} " in called
    assert streaming == "true"
    assert json.loads(Path("preview-report.json").read_text()) == {"create": 0, "update": 0, "delete": 0}


def test_another_app_s_preview_runs_in_its_folder_and_only_with_credentials(job: pytest.MonkeyPatch) -> None:
    job.delenv("CI_MERGE_REQUEST_IID", raising=False)
    Path("apps/ledger").mkdir(parents=True)
    assert run("--cwd", "apps/ledger").exit_code == 0
    called = Path("arguments").read_text()
    assert f"--cwd apps/ledger --stack dev --json --policy-pack {Path('policies').absolute()} " in called
    Path("arguments").unlink()
    job.delenv("GITLAB_TOKEN")
    done = run("--cwd", "apps/ledger")
    assert done.exit_code == 0
    assert "the rehearsal has the app of this folder only" in done.output
    assert not Path("arguments").exists()


SERVICE = update("app-service", "kubernetes:core/v1:Service", {"spec": "a"}, {"spec": "b"})
RECORD = update("onepassword", "pulumi:providers:onepassword", {"token": "a"}, {"token": "b"})


@pytest.mark.parametrize(("line", "status"), [(SERVICE, 1), (RECORD, 0)], ids=["a resource", "the token of the job"])
def test_drift_is_a_change_of_the_stack_and_not_of_a_providers_record(
    job: pytest.MonkeyPatch, line: str, status: int
) -> None:
    job.delenv("CI_MERGE_REQUEST_IID", raising=False)
    Path("pulumi").write_text(f"{ENGINE}echo '{line}'\n")
    done = run("--expect-no-changes")
    assert done.exit_code == status, done.output
    assert ("no changes were expected" in done.output) is (status == 1)
    assert run().exit_code == 0


def test_a_job_without_credentials_cannot_look_for_drift_and_fails(job: pytest.MonkeyPatch) -> None:
    job.delenv("GITLAB_TOKEN")
    done = run("--expect-no-changes")
    assert done.exit_code == 1
    assert "no credentials of stack dev" in done.output


def of_merge_request(job: pytest.MonkeyPatch, **variables: str) -> None:
    of_job = {"CI_COMMIT_SHORT_SHA": "1a2b3c4d", "CI_JOB_URL": "https://gitlab.example.com/job/1"}
    for name, value in {"CI_PROJECT_ID": "1", "CI_MERGE_REQUEST_IID": "1", **of_job, **variables}.items():
        job.setenv(name, value)


def test_the_stacks_of_two_apps_have_a_comment_each(job: pytest.MonkeyPatch) -> None:
    gitlab = GitLab.seeded()
    requests = gitlab.infrastructure.merge_requests
    iid = str(requests.open())
    Path("apps/ledger").mkdir(parents=True)
    with serve(gitlab.app) as url:
        of_merge_request(
            job,
            CI_SERVER_URL=url,
            CI_PROJECT_ID=str(gitlab.infrastructure.id),
            CI_MERGE_REQUEST_IID=iid,
            GITLAB_NOTE_TOKEN=gitlab.issue_token("api", level=REPORTER),
        )
        for options in ([], ["--cwd", "apps/ledger"]) * 2:
            assert run(*options).exit_code == 0
    titles = [note["body"].splitlines()[1] for note in requests.notes(iid, {"sort": "asc"})]
    assert titles == [f"### `pulumi preview` of {stack} at 1a2b3c4d" for stack in ("dev", "ledger/dev")]


def test_a_comment_that_gitlab_refuses_fails_the_job_and_says_what_the_token_needs(job: pytest.MonkeyPatch) -> None:
    gitlab = GitLab.seeded()
    with serve(gitlab.app) as url:
        of_merge_request(
            job,
            CI_SERVER_URL=url,
            CI_PROJECT_ID=str(gitlab.infrastructure.id),
            CI_MERGE_REQUEST_IID=str(gitlab.infrastructure.merge_requests.open()),
            GITLAB_NOTE_TOKEN=gitlab.issue_token("read_api", level=REPORTER),
        )
        done = run()
    assert done.exit_code != 0
    assert "scope api and the role Reporter" in done.output


def test_a_gitlab_that_the_comment_does_not_reach_is_reported_after_the_preview(job: pytest.MonkeyPatch) -> None:
    of_merge_request(job, CI_SERVER_URL="http://127.0.0.1:9", GITLAB_NOTE_TOKEN="glpat-note")
    job.setattr("gitlab.utils.time", Mock())  # between python-gitlab's attempts
    done = run()
    assert isinstance(done.exception, SystemExit), done.exception
    assert "Connection refused" in str(done.exception)
    assert "No changes." in done.output
