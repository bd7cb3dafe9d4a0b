"""python-gitlab trusts the certificates that the plugin trusts, and does not wait forever; what hooks do with it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pulumi
import pytest
import requests

from lookups import deploy_tokens
from lookups.ci_variable import CiVariable
from rehearsal.vendors.gitlab import GitLab
from rehearsal.vendors.server import Fault
from tests.unit.tls_server import answering


@pytest.fixture
def private_gitlab(certificate: Path) -> Iterator[str]:
    """The address of a GitLab whose certificate no authority has signed."""
    with answering({"version": "19.1.0"}, certificate) as url:
        yield url


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-x")
    monkeypatch.delenv("GITLAB_BASE_URL", raising=False)


def test_a_certificate_of_the_system_s_own_store_is_enough(
    monkeypatch: pytest.MonkeyPatch, certificate: Path, private_gitlab: str
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert deploy_tokens.connect(private_gitlab).http_get("/version") == {"version": "19.1.0"}


def test_another_certificate_is_refused(private_gitlab: str) -> None:
    with pytest.raises(requests.exceptions.SSLError):
        deploy_tokens.connect(private_gitlab).http_get("/version", max_retries=0)


def test_an_answer_that_does_not_come_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy_tokens, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        gitlab = deploy_tokens.connect(f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(requests.exceptions.Timeout):
            gitlab.http_get("/version", max_retries=0)


@pytest.mark.parametrize(
    ("variable", "url"),
    [("", "https://gitlab.example.com"), ("https://other.example.com/api/v4/", "https://other.example.com")],
)
def test_an_empty_address_in_the_environment_is_none(monkeypatch: pytest.MonkeyPatch, variable: str, url: str) -> None:
    monkeypatch.setenv("GITLAB_BASE_URL", variable)
    assert deploy_tokens.connect("https://gitlab.example.com").url == url


NAME = "invoicetron-pull-dev"


def pull_secret(username: str) -> dict[str, Any]:
    """Inputs of the pull secret with this token, in the forms in which a hook may get them."""
    return {"metadata": pulumi.Output.secret({"annotations": {deploy_tokens.IN_USE: pulumi.Output.secret(username)}})}


def revoke_lost(gitlab: GitLab, new: str, old: str | None) -> None:
    tokens = deploy_tokens.DeployTokens(gitlab="https://127.0.0.1:9", project=str(gitlab.project.id), name=NAME)

    async def hook() -> None:
        inputs = {"new_inputs": pull_secret(new), "old_inputs": None if old is None else pull_secret(old)}
        await tokens.revoke_lost(pulumi.ResourceHookArgs(urn="urn", id="id", name="name", type="type", **inputs))

    asyncio.run(hook())


@pytest.mark.parametrize("replaces", [False, True])
def test_all_tokens_are_revoked_but_those_of_the_pull_secret_and_of_other_names(gitlab: GitLab, replaces: bool) -> None:
    tokens = gitlab.project.deploy_tokens
    names = [NAME, "by-hand", NAME, NAME, NAME]
    _, other, old, own, _ = [tokens.create({"name": one, "scopes": ["read_registry"]}) for one in names]
    revoke_lost(gitlab, own["username"], old["username"] if replaces else None)
    left = [one["id"] for one in tokens.entries({})]
    assert left == [one["id"] for one in ((other, old, own) if replaces else (other, own))]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """python-gitlab does not pause between its attempts."""
    monkeypatch.setattr("gitlab.utils.time", Mock())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", [{"status": 403}, {"reset": True}])
def test_a_gitlab_that_revokes_nothing_is_told_with_the_command_that_does(
    gitlab: GitLab, fault: dict[str, Any]
) -> None:
    gitlab.app.fail(Fault(**fault), times=100)
    with pytest.raises(RuntimeError, match=r"deploy tokens invoicetron-pull-dev .*`python -m ops recover` revokes it"):
        revoke_lost(gitlab, "gitlab+deploy-token-2", None)


KEY = "KUBE_TOKEN"


def delete_variable(gitlab: GitLab) -> None:
    variable = CiVariable(gitlab="https://127.0.0.1:9", project=str(gitlab.project.id), key=KEY, scope="production")
    asyncio.run(variable.delete(pulumi.ResourceHookArgs(urn="urn", id="", name=KEY, type="type")))


def test_a_variable_made_by_hand_is_deleted_in_its_own_scope_only(gitlab: GitLab) -> None:
    variables = gitlab.project.variables
    for scope in ("*", "development", "production"):
        variables.create({"key": KEY, "value": "made-by-hand", "environment_scope": scope})
    for _ in range(2):  # the second time there is none to delete
        delete_variable(gitlab)
        assert [one["environment_scope"] for one in variables.entries({})] == ["*", "development"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("fault", [{"status": 403}, {"status": 500}, {"reset": True}])
def test_a_variable_that_gitlab_does_not_delete_is_named(gitlab: GitLab, fault: dict[str, Any]) -> None:
    gitlab.app.fail(Fault(**fault), method="DELETE", times=100)
    with pytest.raises(RuntimeError, match=r"does not delete the CI variable KUBE_TOKEN .*Delete it by hand"):
        delete_variable(gitlab)
