"""What is asked of the cluster before the first resource, and what happens if the API server does not answer."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from lookups.cluster import Cluster, ClusterError, ForbiddenError, connect
from tests.unit.kubeconfig import write_kubeconfig

_CLAIMS = {"items": [{"metadata": {"name": "data"}}]}
_ANSWERS: dict[str, tuple[int, Any]] = {
    "/apis/apps/v1": (200, {"kind": "APIResourceList", "resources": [{"name": "deployments"}]}),
    "/api/v1/namespaces/own": (200, {"metadata": {"name": "own"}}),
    "/apis/apps/v1/namespaces/own/deployments": (200, _CLAIMS),
    "/apis/apps/v1/namespaces/own/deployments?labelSelector=a%3Db": (200, {"items": []}),
    "/api/v1/nodes": (403, {"kind": "Status", "message": "nodes is forbidden: User x cannot list"}),
    "/api/v1/secrets": (401, {"kind": "Status", "message": "Unauthorized"}),
    "/api/v1/pods": (200, "<html>a login page</html>"),
    "/api/v1/events": (200, ["ok"]),
    "/api/v1/services": (404, "404 page not found"),
    "/api/v1/endpoints": (302, ""),
    "/api/v1/configmaps": (503, "<html>no upstream</html>"),
    "/api/v1/limitranges": (429, {"kind": "Status", "message": "too many requests"}),
    "/apis/a.b/v1/none": (404, "404 page not found"),
}


_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_ALLOWED = (
    {"verb": "patch", "group": "apps", "resource": "deployments", "namespace": "own"},
    {"verb": "get", "group": "", "resource": "pods", "subresource": "log", "namespace": "own"},
)


async def _review(request: Request) -> Response:
    """The API server's answer to a SelfSubjectAccessReview: 201, whatever the verdict."""
    body = await request.json()
    assert (body["apiVersion"], body["kind"]) == ("authorization.k8s.io/v1", "SelfSubjectAccessReview")
    assert request.headers["content-type"] == "application/json"
    asked = body["spec"]["resourceAttributes"]
    return JSONResponse({**body, "status": {"allowed": asked in _ALLOWED}}, 201)


def _answer(request: Request) -> Response:
    asked = f"{request.url.path}{f'?{request.url.query}' if request.url.query else ''}"
    status, body = _ANSWERS.get(asked, (404, {"kind": "Status", "message": "not found"}))
    return PlainTextResponse(body, status) if isinstance(body, str) else JSONResponse(body, status)


def _connected(url: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    write_kubeconfig(url, directory, monkeypatch)
    return connect("a")


@pytest.fixture
def cluster(served: Callable[[ASGIApp], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return _connected(
        served(Starlette(routes=[Route(_REVIEWS, _review, methods=["POST"]), Route("/{path:path}", _answer)])),
        tmp_path,
        monkeypatch,
    )


def test_an_object_is_read_by_name_and_a_missing_one_is_none(cluster: Cluster) -> None:
    assert cluster.get("v1", "namespaces", "own") == {"metadata": {"name": "own"}}
    assert cluster.get("v1", "namespaces", "another") is None


def test_objects_are_listed_and_an_api_that_is_not_installed_holds_none(cluster: Cluster) -> None:
    assert cluster.list("apps/v1", "deployments", "own") == _CLAIMS["items"]
    assert cluster.list("apps/v1", "deployments", "own", selector="a=b") == []
    assert cluster.list("gateway.networking.k8s.io/v1", "httproutes") == []
    assert cluster.list("a.b/v1", "none") == []


def test_an_object_that_may_not_be_read_is_not_taken_for_absent(cluster: Cluster) -> None:
    with pytest.raises(ForbiddenError, match=r"(?s)nodes is forbidden: User x cannot list.*Grant it with a Role"):
        cluster.list("v1", "nodes")


def test_the_api_server_is_asked_what_the_user_may_do(cluster: Cluster) -> None:
    assert cluster.may("patch", "apps", "deployments", "own")
    assert cluster.may("get", "", "pods/log", "own")
    assert not cluster.may("get", "", "pods", "own")
    assert not cluster.may("patch", "apps", "deployments")
    assert not cluster.may("*", "*", "*")


@pytest.mark.parametrize(
    ("resource", "words"),
    [
        ("secrets", "does not know the kubeconfig's user"),
        ("pods", "200: the answer is not JSON, so this is not an API server"),
        ("events", "200: the answer is not JSON, so this is not an API server"),
        ("services", "404: the answer is not JSON, so this is not an API server"),
        ("endpoints", "302: the answer is not JSON, so this is not an API server"),
        ("configmaps", "503: the answer is not JSON, so this is not an API server"),
        ("limitranges", "(?s)429: too many requests.*Try again later"),
    ],
)
def test_an_unusable_answer_is_explained(cluster: Cluster, resource: str, words: str) -> None:
    with pytest.raises(ClusterError, match=words):
        cluster.list("v1", resource)


def test_an_unreachable_api_server_is_named_with_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(ClusterError, match=f"The cluster a does not answer at {url}") as away:
        _connected(url, tmp_path, monkeypatch).get("v1", "namespaces", "own")
    assert "Nothing was created or changed" in str(away.value)


def test_a_kind_is_served_only_if_its_api_lists_it(cluster: Cluster) -> None:
    assert cluster.serves("apps/v1", "deployments")
    assert not cluster.serves("apps/v1", "replicatwins")
    assert not cluster.serves("apps/v9", "deployments")
