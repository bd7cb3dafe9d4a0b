"""The comment on a merge request, written to GitLab's emulator over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gitlab.exceptions import GitlabAuthenticationError, GitlabError

from ci import merge_request
from ci.merge_request import put_comment
from rehearsal.vendors.gitlab import REPORTER, GitLab
from rehearsal.vendors.gitlab.answers import Body
from rehearsal.vendors.server import Fault, serve
from tests.rehearsal.certificates import self_signed

MARKER = "<!-- preview: dev -->"
SOMEBODY = 99


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """A merge request of this repository, and the environment of its jobs."""

    gitlab: GitLab
    environment: dict[str, str]

    @classmethod
    def of(cls, gitlab: GitLab, url: str) -> Pipeline:
        """A pipeline of a new merge request."""
        environment = {
            "CI_SERVER_URL": url,
            "CI_PROJECT_ID": str(gitlab.infrastructure.id),
            "CI_MERGE_REQUEST_IID": str(gitlab.infrastructure.merge_requests.open()),
            "GITLAB_NOTE_TOKEN": gitlab.issue_token("api", level=REPORTER),
        }
        return cls(gitlab=gitlab, environment=environment)

    def put(self, text: str, marker: str = MARKER) -> None:
        put_comment(self.environment, marker=marker, body=f"{marker}\n{text}")

    def write(self, body: str) -> None:
        self.gitlab.infrastructure.merge_requests.create(self._iid, {"body": body}, user=SOMEBODY)

    @property
    def notes(self) -> list[Body]:
        return self.gitlab.infrastructure.merge_requests.notes(self._iid, {"sort": "asc"})

    @property
    def _iid(self) -> str:
        return self.environment["CI_MERGE_REQUEST_IID"]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[GitLab, str]]:
    gitlab = GitLab.seeded()
    with serve(gitlab.app) as url:
        yield gitlab, url


@pytest.fixture
def pipeline(served: tuple[GitLab, str], monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    gitlab, url = served
    gitlab.app.forget()
    monkeypatch.setattr(merge_request, "_PAUSE", 0)
    return Pipeline.of(gitlab, url)


def test_the_first_pipeline_comments_and_the_next_ones_edit_that_comment(pipeline: Pipeline) -> None:
    for text in ("one", "two", "two"):
        pipeline.put(text)
    assert [note["body"] for note in pipeline.notes] == [f"{MARKER}\ntwo"]
    assert [call.method for call in pipeline.gitlab.app.writes] == ["POST", "PUT"]


@pytest.mark.parametrize("after_effect", [True, False])
@pytest.mark.parametrize("fault", [{"status": 504}, {"reset": True}])
def test_a_comment_is_posted_once_even_if_the_response_is_lost(
    pipeline: Pipeline, fault: dict[str, Any], *, after_effect: bool
) -> None:
    pipeline.gitlab.app.fail(Fault(**fault, after_effect=after_effect), method="POST")
    pipeline.put("one")
    assert [note["body"] for note in pipeline.notes] == [f"{MARKER}\none"]


def test_the_comment_fails_if_gitlab_stays_unavailable(pipeline: Pipeline) -> None:
    pipeline.gitlab.app.fail(Fault(status=502), method="POST", times=100)
    with pytest.raises(GitlabError):
        pipeline.put("one")
    assert len(pipeline.gitlab.app.writes) == 3


def test_each_stack_has_its_own_comment(pipeline: Pipeline) -> None:
    for marker in (MARKER, "<!-- preview: prod -->", MARKER):
        pipeline.put("text", marker)
    assert len(pipeline.notes) == 2


def test_the_comment_is_found_among_more_than_a_page_of_others(pipeline: Pipeline) -> None:
    for number in range(150):
        pipeline.write(f"remark {number}")
    for text in ("one", "two"):
        pipeline.put(text)
    assert [note["body"] for note in pipeline.notes if note["body"].startswith(MARKER)] == [f"{MARKER}\ntwo"]


def test_another_users_comment_with_the_same_marker_is_left_alone(pipeline: Pipeline) -> None:
    pipeline.write(f"{MARKER}\nnothing to see here")
    pipeline.put("one")
    assert [note["author"]["id"] == SOMEBODY for note in pipeline.notes] == [True, False]


def test_a_comment_longer_than_gitlab_s_limit_is_refused_by_gitlab(pipeline: Pipeline) -> None:
    with pytest.raises(GitlabError, match="too long"):
        pipeline.put("x" * 1_000_000)


def test_a_job_s_own_token_may_not_comment(pipeline: Pipeline) -> None:
    pipeline.environment["GITLAB_NOTE_TOKEN"] = "glcbt-of-the-job"
    with pytest.raises(GitlabAuthenticationError):
        pipeline.put("one")


def test_a_token_that_may_only_read_is_refused(pipeline: Pipeline) -> None:
    pipeline.environment["GITLAB_NOTE_TOKEN"] = pipeline.gitlab.issue_token("read_api", level=REPORTER)
    with pytest.raises(GitlabError, match="insufficient_scope"):
        pipeline.put("one")


def test_a_certificate_that_only_the_system_s_own_store_has_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "key.pem", tmp_path / "certificate.pem"
    for file, text in zip(files, self_signed("localhost"), strict=True):
        file.write_text(text)
    monkeypatch.setenv("SSL_CERT_FILE", str(files[1]))
    gitlab = GitLab.seeded()
    with serve(gitlab.app, certificate=files) as url:
        pipeline = Pipeline.of(gitlab, url)
        pipeline.put("one")
    assert [note["body"] for note in pipeline.notes] == [f"{MARKER}\none"]
