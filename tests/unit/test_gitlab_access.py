"""Permissions that the token lacks are reported; what GitLab does not show is not guessed."""

from __future__ import annotations

import io
import json
import socket
import threading
from collections.abc import Callable, Mapping
from email.message import Message
from typing import Any
from unittest import mock
from urllib.error import HTTPError, URLError
from urllib.request import OpenerDirector, Request

import pulumi
import pytest
from starlette.types import ASGIApp

from lookups import gitlab_access
from lookups.gitlab import GitLabError, read_project
from rehearsal.vendors.gitlab import GitLab
from settings import Settings
from settings.delivery import DeliverySettings
from settings.repository import RepositorySettings
from tests.stacks import DEV
from tests.unit.stack_files import sections

DELIVERY = DeliverySettings.model_validate(
    {"project": "a/b", "branch": "main", "environment": {"name": "production", "tier": "production"}}
)


def missing_permissions(
    monkeypatch: pytest.MonkeyPatch,
    token: Mapping[str, Any],
    project: Mapping[str, Any],
    *protected: str,
    reading: bool = False,
) -> list[str]:
    def answer(_opener: OpenerDirector, request: Request, timeout: float) -> io.BytesIO:
        assert timeout
        body = token if request.full_url.endswith("/self") else project
        if not body:
            raise HTTPError(request.full_url, 403, "Forbidden", Message(), None)
        return io.BytesIO(json.dumps(body).encode())

    monkeypatch.setattr(OpenerDirector, "open", answer)
    repository = RepositorySettings(mirror="ssh://git@github.com/a/b.git", protected_environments=protected)
    environment = {"GITLAB_TOKEN": "glpat-x"}
    return gitlab_access.missing_permissions(DELIVERY, repository, environment=environment, reading=reading)


def role(*levels: int | None) -> dict[str, Any]:
    """A project in which the user has a role of its own and one through its group; None means no role."""
    accesses = [None if level is None else {"access_level": level} for level in levels]
    return {"permissions": dict(zip(["project_access", "group_access"], accesses, strict=True))}


def test_the_scope_api_and_the_role_maintainer_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_permissions(monkeypatch, {"scopes": ["api"]}, role(30, 40)) == []


@pytest.mark.parametrize("reading", [False, True])
def test_everything_that_is_missing_is_reported_at_once(monkeypatch: pytest.MonkeyPatch, *, reading: bool) -> None:
    scope, level = missing_permissions(monkeypatch, {"scopes": ["read_api"]}, role(30, None), reading=reading)
    assert "scope api" in scope
    assert "role Maintainer" in level


@pytest.mark.parametrize(("scope", "lacks"), [("api", False), ("read_api", False), ("read_registry", True)])
def test_the_scope_read_api_is_enough_to_read(monkeypatch: pytest.MonkeyPatch, scope: str, lacks: bool) -> None:
    lacking = missing_permissions(monkeypatch, {"scopes": [scope]}, role(40, None), reading=True)
    assert lacking == ([f"the scope read_api: GITLAB_TOKEN has {scope}"] if lacks else [])


def test_protected_environments_need_a_licence_that_the_project_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    unlicensed = role(40, None)
    licensed = {**unlicensed, "allow_pipeline_trigger_approve_deployment": False}
    (licence,) = missing_permissions(monkeypatch, {"scopes": ["api"]}, unlicensed, "production")
    assert "GitLab Premium" in licence
    assert missing_permissions(monkeypatch, {"scopes": ["api"]}, licensed, "production") == []
    assert missing_permissions(monkeypatch, {"scopes": ["api"]}, unlicensed) == []


@pytest.mark.parametrize(
    ("token", "project", "protected"),
    [({}, {}, []), ({}, {}, ["production"]), ({"scopes": []}, role(None, None), [])],
)
def test_permissions_that_gitlab_does_not_show_are_not_guessed(
    monkeypatch: pytest.MonkeyPatch, token: dict[str, Any], project: dict[str, Any], protected: list[str]
) -> None:
    assert missing_permissions(monkeypatch, token, project, *protected) == []


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (URLError(ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
        (URLError(socket.gaierror(-2, "Name or service not known")), "Name or service not known"),
        (TimeoutError("timed out"), "timed out"),
    ],
)
def test_an_unreachable_gitlab_is_named_with_its_address(
    monkeypatch: pytest.MonkeyPatch, fault: Exception, why: str
) -> None:
    monkeypatch.setattr(OpenerDirector, "open", mock.Mock(side_effect=fault))
    environment = {"GITLAB_TOKEN": "glpat-x", "GITLAB_BASE_URL": "http://127.0.0.1:9/api/v4/"}
    for ask in (gitlab_access.missing_permissions, gitlab_access.check_answers):
        with pytest.raises(gitlab_access.NoAnswerError) as away:
            ask(DELIVERY, environment=environment)
        assert "GitLab does not answer at http://127.0.0.1:9/api/v4/" in str(away.value)
        assert why in str(away.value)
        assert "glpat-x" not in str(away.value)


@pytest.mark.parametrize("status", [500, 502])
def test_a_gateways_error_is_not_an_answer_from_gitlab(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    gateway = HTTPError("http://x", status, "Bad Gateway", Message(), None)
    monkeypatch.setattr(OpenerDirector, "open", mock.Mock(side_effect=gateway))
    with pytest.raises(gitlab_access.NoAnswerError, match=rf"does not answer at https://\S+/api/v4/: {status}"):
        gitlab_access.check_answers(DELIVERY, environment={})


@pytest.mark.parametrize(
    "answer",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"version": "18.11',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n{",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n<html>a login page</html>",
        b"",
    ],
    ids=["cut off", "cut off in a chunk", "another protocol", "a proxy's page", "nothing"],
)
def test_an_answer_that_is_not_from_gitlabs_api_is_reported_with_its_address(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=once)
        thread.start()
        environment = {"GITLAB_BASE_URL": f"http://127.0.0.1:{server.getsockname()[1]}/api/v4/"}
        with pytest.raises(gitlab_access.NoAnswerError, match=r"does not answer at http://127\.0\.0\.1:\d+/api/v4/"):
            gitlab_access.check_answers(DELIVERY, environment=environment)
        thread.join()


def test_a_connection_that_breaks_during_the_answer_is_reported_with_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = mock.MagicMock(**{"__enter__.return_value.read.side_effect": ConnectionResetError})
    monkeypatch.setattr(OpenerDirector, "open", lambda *_, **__: broken)
    with pytest.raises(gitlab_access.NoAnswerError, match="does not answer at https://"):
        gitlab_access.check_answers(DELIVERY, environment={})


def test_the_environments_that_are_protected_are_found_by_name(served: Callable[[ASGIApp], str]) -> None:
    gitlab = GitLab.seeded()
    environment = {"GITLAB_BASE_URL": f"{served(gitlab.app)}/api/v4/", "GITLAB_TOKEN": gitlab.token}
    gitlab.project.protected_environments.create({"name": "review/1", "deploy_access_levels": [{"access_level": 40}]})
    asked = str(gitlab.project.id), ["production", "review/1"]
    assert gitlab_access.find_protected(DELIVERY, *asked, environment=environment) == ["review/1"]


def test_a_project_that_the_user_may_not_see_and_an_invalid_token_are_told(served: Callable[[ASGIApp], str]) -> None:
    gitlab = GitLab.seeded()
    base = f"{served(gitlab.app)}/api/v4/"

    def missing(path: str, token: str = gitlab.token) -> list[str]:
        delivery = DELIVERY.model_copy(update={"project": path})
        environment = {"GITLAB_BASE_URL": base, "GITLAB_TOKEN": token}
        return gitlab_access.missing_permissions(delivery, environment=environment)

    assert missing(gitlab.project.path) == []
    (hidden,) = missing("group/other")
    assert f"a project group/other at {base}" in hidden
    assert "correct delivery.project" in hidden
    (invalid,) = missing(gitlab.project.path, "glpat-expired")
    assert f"refuses GITLAB_TOKEN at {base} (401)" in invalid


@pytest.mark.parametrize(
    ("preview", "scope", "said"),
    [
        (True, "read_api", "the plugin's own words"),
        (False, "read_api", "the scope api: GITLAB_TOKEN has read_api"),
        (False, "api", "the plugin's own words"),
    ],
)
def test_what_a_token_lacks_depends_on_whether_the_run_writes(
    monkeypatch: pytest.MonkeyPatch, served: Callable[[ASGIApp], str], preview: bool, scope: str, said: str
) -> None:
    server = GitLab.seeded()
    monkeypatch.setenv("GITLAB_BASE_URL", f"{served(server.app)}/api/v4/")
    monkeypatch.setenv("GITLAB_TOKEN", server.issue_token(scope))
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: preview)
    fails = mock.Mock(side_effect=Exception("the plugin's own words"))
    monkeypatch.setattr("lookups.gitlab.gitlab.get_project", fails)
    delivery = DELIVERY.model_copy(update={"project": server.project.path})
    with pytest.raises(GitLabError) as refused:
        read_project(Settings.load(DEV, sections("dev")), delivery, mock.Mock())
    assert said in str(refused.value)
