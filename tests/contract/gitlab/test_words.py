"""What users are told when GitLab refuses or is not reachable."""

from __future__ import annotations

import datetime as dt
import time

import pytest
from gitlab import Gitlab, GitlabError
from requests import RequestException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from lookups.ci_variable import CiVariable
from lookups.gitlab_access import missing_permissions
from ops.clients import check_gitlab, gitlab_words
from ops.verify.trouble import NETWORK_FIX, explain
from rehearsal.vendors.gitlab import DEVELOPER, GitLab
from rehearsal.vendors.server import serve
from settings.delivery import DeliverySettings


def delivery(project: str) -> DeliverySettings:
    environment = {"name": "production", "tier": "production"}
    return DeliverySettings.model_validate({"project": project, "branch": "main", "environment": environment})


def expired(emulator: GitLab) -> str:
    return emulator.issue_token("api", expires=dt.datetime.now(dt.UTC).date())


def test_a_token_that_is_over_and_a_project_that_is_not_there_get_advice_of_their_own(
    url: str, emulator: GitLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert url
    (no_project,) = missing_permissions(delivery("no/where"))
    assert "delivery.project" in no_project
    assert "expired" not in no_project
    monkeypatch.setenv("GITLAB_TOKEN", emulator.issue_token("api", level=0))
    (no_member,) = missing_permissions(delivery(emulator.project.path))
    assert "Maintainer" in no_member
    monkeypatch.setenv("GITLAB_TOKEN", expired(emulator))
    (over,) = missing_permissions(delivery(emulator.project.path))
    assert "expired" in over
    assert "delivery.project" not in over


def test_ops_tells_them_apart_too(url: str, emulator: GitLab) -> None:
    for token, project, words in (
        (expired(emulator), emulator.project.path, "has expired"),
        (emulator.token, "no/where", "Correct delivery.project"),
        (emulator.issue_token("read_repository"), emulator.project.path, "needs the scope api"),
    ):
        with pytest.raises(GitlabError) as refused:
            Gitlab(url, private_token=token).projects.get(project)
        assert words in gitlab_words(refused.value)


def test_a_gitlab_that_is_away_is_told_soon_with_its_address_and_no_name_of_an_exception() -> None:
    away = Gitlab("http://127.0.0.1:9", private_token="x", retry_transient_errors=True)
    began = time.monotonic()
    with pytest.raises(RequestException) as refused:
        check_gitlab(away)
    assert time.monotonic() - began < 10
    words = gitlab_words(refused.value)
    assert words.startswith("GitLab does not answer at http://127.0.0.1:9.")
    assert "Error" not in words


@pytest.mark.parametrize(
    ("answer", "words", "fix"),
    [
        (PlainTextResponse("<html>log in</html>"), "What answers for GitLab is not its API", NETWORK_FIX),
        (PlainTextResponse('{"version": "18.11', media_type="application/json"), "is not its API", NETWORK_FIX),
        (
            JSONResponse({"message": "Retry later"}, 429, {"Retry-After": "0"}),
            "429 Retry later. Try",
            "try again",
        ),
        (PlainTextResponse("<html>bad gateway</html>", 502), "does not answer (it came: 502)", "try again"),
    ],
)
def test_what_the_token_cannot_help_is_not_blamed_on_it(answer: Response, words: str, fix: str) -> None:
    with serve(answer) as url, pytest.raises(GitlabError) as refused:
        check_gitlab(Gitlab(url, private_token="x"))
    assert words in gitlab_words(refused.value)
    assert "GITLAB_TOKEN" not in gitlab_words(refused.value)
    assert explain(refused.value)[1].startswith(fix)


def test_a_variable_that_may_not_be_deleted_is_told_with_the_way_to_do_it_by_hand(
    url: str, emulator: GitLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert url
    emulator.project.variables.create({"key": "KUBE_TOKEN", "value": "secret-of-theirs"})
    monkeypatch.setenv("GITLAB_TOKEN", emulator.issue_token("api", level=DEVELOPER))
    variable = CiVariable(gitlab="https://x", project=str(emulator.project.id), key="KUBE_TOKEN", scope="*")
    with pytest.raises(RuntimeError, match=r"GitLab does not delete the CI variable KUBE_TOKEN .*403.*by hand") as told:
        variable._delete()
    assert "secret-of-theirs" not in str(told.value)
