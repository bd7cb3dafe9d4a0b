"""What the token lacks is told in words; what GitLab does not tell is not guessed."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from email.message import Message
from typing import Any
from urllib.error import HTTPError
from urllib.request import OpenerDirector, Request

import pytest

from lookups import gitlab_access
from settings.delivery import DeliverySettings
from settings.repository import RepositorySettings

DELIVERY = DeliverySettings.model_validate(
    {"project": "a/b", "branch": "main", "environment": {"name": "production", "tier": "production"}}
)


def missing_permissions(
    monkeypatch: pytest.MonkeyPatch, token: Mapping[str, Any], project: Mapping[str, Any], *protected: str
) -> list[str]:
    def answer(_opener: OpenerDirector, request: Request, timeout: float) -> io.BytesIO:
        assert timeout
        body = token if request.full_url.endswith("/self") else project
        if not body:
            raise HTTPError(request.full_url, 403, "Forbidden", Message(), None)
        return io.BytesIO(json.dumps(body).encode())

    monkeypatch.setattr(OpenerDirector, "open", answer)
    repository = RepositorySettings(mirror="ssh://git@github.com/a/b.git", protected_environments=protected)
    return gitlab_access.missing_permissions(DELIVERY, repository, environment={"GITLAB_TOKEN": "glpat-x"})


def role(*levels: int | None) -> dict[str, Any]:
    """A project in which the user has a role by itself and one by its group; None is none."""
    accesses = [None if level is None else {"access_level": level} for level in levels]
    return {"permissions": dict(zip(["project_access", "group_access"], accesses, strict=True))}


def test_the_scope_api_and_the_role_maintainer_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_permissions(monkeypatch, {"scopes": ["api"]}, role(30, 40)) == []


def test_everything_that_is_lacking_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scope, level = missing_permissions(monkeypatch, {"scopes": ["read_api"]}, role(30, None))
    assert "scope api" in scope
    assert "role Maintainer" in level


def test_protected_environments_take_a_licence_which_the_project_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    unlicensed = role(40, None)
    licensed = {**unlicensed, "allow_pipeline_trigger_approve_deployment": False}
    (licence,) = missing_permissions(monkeypatch, {"scopes": ["api"]}, unlicensed, "production")
    assert "GitLab Premium" in licence
    assert missing_permissions(monkeypatch, {"scopes": ["api"]}, licensed, "production") == []
    assert missing_permissions(monkeypatch, {"scopes": ["api"]}, unlicensed) == []


@pytest.mark.parametrize(("token", "project"), [({}, {}), ({"scopes": []}, role(None, None))])
def test_what_gitlab_does_not_tell_is_not_guessed(
    monkeypatch: pytest.MonkeyPatch, token: dict[str, Any], project: dict[str, Any]
) -> None:
    assert missing_permissions(monkeypatch, token, project) == []
