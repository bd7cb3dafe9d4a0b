"""How GitLab refuses, and what it never shows."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import httpx
import pytest

from rehearsal.vendors.gitlab import DEVELOPER, GitLab
from rehearsal.vendors.gitlab.answers import RefusedError
from tests.contract.gitlab.requests import OPERATIONS


def ask(url: str, token: str, path: str, method: str = "GET") -> tuple[int, dict[str, Any]]:
    headers = {"PRIVATE-TOKEN": token}
    answer = httpx.request(method, f"{url}/api/v4/{path}", headers=headers, trust_env=False)
    body = answer.json()
    return answer.status_code, body if isinstance(body, dict) else {}


PROJECT_READS: Final = [path for method, path in OPERATIONS if method == "GET" and path.startswith("projects/*")]


@pytest.mark.parametrize("path", [*PROJECT_READS, "user", "version", "metadata", "personal_access_tokens/self"])
def test_a_token_that_gitlab_does_not_know_is_refused_everywhere(url: str, emulator: GitLab, path: str) -> None:
    path = path.replace("*", str(emulator.project.id))
    assert ask(url, "glpat-unknown", path) == (401, {"message": "401 Unauthorized"})


def test_a_token_that_has_expired_is_told_as_that(url: str, emulator: GitLab) -> None:
    old = emulator.issue_token("api", expires=dt.datetime.now(dt.UTC).date())
    status, body = ask(url, old, "user")
    assert (status, body["error"]) == (401, "invalid_token")
    assert "expired" in body["error_description"]


@pytest.mark.parametrize("path", PROJECT_READS)
def test_a_project_that_one_may_not_see_is_not_there(url: str, emulator: GitLab, path: str) -> None:
    stranger = emulator.issue_token("api", level=0)
    path = path.replace("*", str(emulator.project.id))
    assert ask(url, stranger, path) == (404, {"message": "404 Project Not Found"})
    assert ask(url, emulator.token, "projects/nowhere%2Fat-all") == (404, {"message": "404 Project Not Found"})


@pytest.mark.parametrize(
    ("path", "status"), [("variables", 403), ("deploy_tokens", 403), ("remote_mirrors", 401), ("environments", 200)]
)
def test_a_developer_is_refused_as_each_endpoint_does_it(url: str, emulator: GitLab, path: str, status: int) -> None:
    developer = emulator.issue_token("api", level=DEVELOPER)
    found, body = ask(url, developer, f"projects/{emulator.project.id}/{path}")
    assert found == status
    if status != 200:
        assert body == {"message": {401: "401 Unauthorized", 403: "403 Forbidden"}[status]}


def test_a_token_that_only_reads_may_not_write(url: str, emulator: GitLab) -> None:
    reader = emulator.issue_token("read_api")
    status, body = ask(url, reader, f"projects/{emulator.project.id}/deploy_tokens", "POST")
    assert (status, body["error"], body["scope"]) == (403, "insufficient_scope", "api")


def test_the_value_of_a_hidden_variable_is_shown_to_nobody(url: str, emulator: GitLab) -> None:
    emulator.project.variables.create({"key": "HIDDEN", "value": "never-shown", "masked_and_hidden": True})
    assert ask(url, emulator.token, f"projects/{emulator.project.id}/variables/HIDDEN")[1]["value"] is None


def test_a_hidden_variable_takes_another_value_and_never_shows_again(url: str, emulator: GitLab) -> None:
    """`validate_masked_and_hidden_on_update` in GitLab's app/models/concerns/ci/hidable_variable.rb, on an update."""
    variables = emulator.project.variables
    variables.create({"key": "HIDDEN_TOO", "value": "never-shown", "masked_and_hidden": True})
    variables.update("HIDDEN_TOO", None, {"value": "another-value", "masked": True})
    with pytest.raises(RefusedError, match="visibility setting cannot be changed"):
        variables.update("HIDDEN_TOO", None, {"masked": False})
    assert ask(url, emulator.token, f"projects/{emulator.project.id}/variables/HIDDEN_TOO")[1]["value"] is None


@pytest.mark.parametrize(
    ("name", "tier"),
    [("prod", "production"), ("review/x", "development"), ("qa", "testing"), ("pre", "staging"), ("x", "other")],
)
def test_an_environment_without_a_tier_gets_that_of_its_name(emulator: GitLab, name: str, tier: str) -> None:
    assert emulator.project.environments.create({"name": name})["tier"] == tier
