"""The stack file as `ops` reads it: as a user writes it, and as Pulumi rewrites it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import cloudflare
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from components.tunnel import TunnelError
from lookups.cloudflare_api import CloudflareError
from lookups.cluster import ClusterError, ForbiddenError
from lookups.cluster_client import api_client
from lookups.credentials import CredentialsError
from ops import __main__ as command
from ops.clients import cloudflare_client, dynamic_client, gitlab_client, kubernetes_client, load_settings
from ops.verify.trouble import CLUSTER_FIX, NETWORK_FIX, explain
from rehearsal.vendors.cloudflare import Cloudflare
from tests.stacks import STACKS
from tests.unit.kubeconfig import write_kubeconfig


@pytest.mark.parametrize("written", ["true", '"true"'])
def test_a_boolean_is_recognised_however_the_file_spells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    shutil.copy(STACKS / "Pulumi.yaml", tmp_path)
    file = Path(shutil.copy(STACKS / "Pulumi.prod.yaml", tmp_path))
    file.write_text(file.read_text().replace("protect: true", f"protect: {written}"))
    monkeypatch.chdir(tmp_path)
    assert load_settings("prod").protect is True


@pytest.mark.parametrize("content", [None, "contexts: []", "{"], ids=["no file", "another context", "no YAML"])
def test_an_unusable_kubeconfig_is_refused_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    file = tmp_path / "kubeconfig"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.chdir(STACKS)
    with pytest.raises(
        CredentialsError, match=rf"(?s)the context homelab cannot be read from {file}.*[^.]\. Export KUBECONFIG"
    ):
        kubernetes_client(load_settings("dev"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (TunnelError("there is no tunnel x"), "there is no tunnel x"),
        (CloudflareError("Cloudflare does not answer: Try later"), "Cloudflare does not answer: Try later"),
        (ClusterError("The cluster a does not answer"), "The cluster a does not answer"),
        (
            cloudflare.APIConnectionError(request=httpx.Request("GET", "https://x")),
            "Cloudflare does not answer: Connection error.",
        ),
    ],
)
def test_a_systems_error_ends_the_command_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    monkeypatch.setattr(command, "app", mock.Mock(side_effect=error))
    with pytest.raises(SystemExit) as ended:
        command._main()
    assert str(ended.value.code).startswith(words)
    assert "CLOUDFLARE_API_TOKEN" not in str(ended.value.code)


@pytest.mark.parametrize(
    ("error", "seen", "fix"),
    [
        (ClusterError("away, in many words", reason="Connection refused"), "Connection refused", NETWORK_FIX),
        (ForbiddenError("no, in many words", reason="403: pods is forbidden"), "403: pods is forbidden", CLUSTER_FIX),
    ],
)
def test_a_check_explains_what_the_api_server_answers(error: Exception, seen: str, fix: str) -> None:
    why, remedy = explain(error)
    assert why.endswith(seen)
    assert remedy == fix


@pytest.mark.parametrize(("token", "words"), [(None, "GITLAB_TOKEN is not set"), ("x\ny", "GITLAB_TOKEN contains")])
def test_gitlab_s_token_is_checked_before_it_is_used(
    monkeypatch: pytest.MonkeyPatch, token: str | None, words: str
) -> None:
    monkeypatch.chdir(STACKS)
    monkeypatch.delenv("GITLAB_BASE_URL", raising=False)
    if token is None:
        monkeypatch.delenv("GITLAB_TOKEN", raising=False)
    else:
        monkeypatch.setenv("GITLAB_TOKEN", token)
    with pytest.raises(CredentialsError, match=words):
        gitlab_client(load_settings("prod"))


def test_the_apis_of_a_cluster_are_discovered_each_time_and_kept_in_no_file(
    served: Callable[[ASGIApp], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = ["apps"]

    def answer(request: Request) -> JSONResponse:
        if request.url.path == "/version":
            return JSONResponse({"major": "1"})
        if request.url.path == "/apis":
            named = [{"name": one, "versions": [{"version": "v1"}], "preferredVersion": {}} for one in groups]
            return JSONResponse({"kind": "APIGroupList", "groups": named})
        kind = {"name": "things", "kind": request.url.path.split("/")[-2].capitalize(), "namespaced": True, "verbs": []}
        return JSONResponse({"kind": "APIResourceList", "resources": [kind]})

    write_kubeconfig(served(Starlette(routes=[Route("/{path:path}", answer)])), tmp_path, monkeypatch)
    (folder := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    kinds = []
    for group in ("apps", "later"):
        groups.append(group)
        found = list(dynamic_client(api_client("a")).resources)
        kinds.append({name.kind for one in found if isinstance(one, list) for name in one if name.group})
        assert list(folder.iterdir()) == []
    assert "Later" not in kinds[0]
    assert "Later" in kinds[1]


@pytest.mark.parametrize("exceptions", ["[::1]", "10.42.0.0/16,fd00::/8"])
def test_ipv6_in_no_proxy_does_not_keep_the_official_client_from_cloudflare(
    monkeypatch: pytest.MonkeyPatch, served: Callable[[ASGIApp], str], exceptions: str
) -> None:
    server = Cloudflare()
    monkeypatch.setenv("NO_PROXY", exceptions)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", server.token)
    monkeypatch.setenv("CLOUDFLARE_BASE_URL", f"{served(server.app)}/client/v4")
    assert list(cloudflare_client().zones.list())
