"""python-gitlab trusts the certificates that the plugin trusts, and does not wait forever; what hooks do with it."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pulumi
import pytest
import requests
from starlette.types import ASGIApp

from lookups import deploy_tokens
from lookups.ci_variable import CiVariable
from rehearsal.vendors.gitlab import GitLab
from rehearsal.vendors.server import Fault
from tests.rehearsal.certificates import self_signed


class Handler(http.server.BaseHTTPRequestHandler):
    """GitLab's version, and nothing else."""

    def do_GET(self) -> None:
        body = json.dumps({"version": "19.1.0"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    file = tmp_path / "gitlab.pem"
    file.write_text("".join(self_signed("localhost")))
    return file


@pytest.fixture
def private_gitlab(certificate: Path) -> Iterator[str]:
    """The address of a GitLab whose certificate no authority has signed."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield f"https://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()


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


@pytest.fixture
def gitlab(served: Callable[[ASGIApp], str], monkeypatch: pytest.MonkeyPatch) -> GitLab:
    found = GitLab.seeded()
    monkeypatch.setenv("GITLAB_BASE_URL", f"{served(found.app)}/api/v4/")
    monkeypatch.setenv("GITLAB_TOKEN", found.token)
    return found


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
