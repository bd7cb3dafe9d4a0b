"""The resource that retains a volume: what it requests of the API server, and what it says if the server refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from components.retained_volume import VolumeError, _RetainedVolumeProvider, _RetainedVolumesProvider
from tests.unit.kubeconfig import write_kubeconfig

PROPS = {"context": "a", "namespace": "own", "claim": "data"}
SEVERAL = {"context": "a", "namespace": "own", "claims": "app=db"}

OTHERS = {**SEVERAL, "claims": "app=other"}


class ApiServer:
    """Claims of the namespace `own`, and volumes, some of which may not be patched."""

    def __init__(self) -> None:
        self.claims: dict[str, dict[str, Any]] = {"data": {"volumeName": "pv"}}
        self.volumes = {"pv": "Delete"}
        self.forbidden = False
        self.kinds: list[str] = []

    async def answer(self, request: Request) -> Response:
        kind, _, name = request.url.path.removeprefix("/api/v1/").removeprefix("namespaces/own/").partition("/")
        if kind == "persistentvolumes" and self.forbidden:
            return JSONResponse({"message": "persistentvolumes is forbidden: User x"}, 403)
        if request.method == "PATCH":
            self.kinds.append(request.headers["content-type"])
            if name not in self.volumes:
                return JSONResponse({"message": "not found"}, 404)
            self.volumes[name] = (await request.json())["spec"]["persistentVolumeReclaimPolicy"]
        if not name:
            asked = request.query_params["labelSelector"]
            items = [{"metadata": {"name": one}, "spec": spec} for one, spec in self.claims.items()]
            return JSONResponse({"items": items if asked == "app=db" else []})
        if kind == "persistentvolumeclaims" and name in self.claims:
            return JSONResponse({"spec": self.claims[name]})
        if kind == "persistentvolumes" and name in self.volumes:
            return JSONResponse({"spec": {"persistentVolumeReclaimPolicy": self.volumes[name]}})
        return JSONResponse({"message": "not found"}, 404)


@pytest.fixture
def server(served: Callable[[ASGIApp], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ApiServer:
    one = ApiServer()
    url = served(Starlette(routes=[Route("/{path:path}", one.answer, methods=["GET", "PATCH"])]))
    write_kubeconfig(url, tmp_path, monkeypatch)
    return one


def test_the_volume_of_a_bound_claim_is_retained(server: ApiServer) -> None:
    assert _RetainedVolumeProvider().create(PROPS).outs == {**PROPS, "volume": "pv", "policy": "Retain"}
    assert server.volumes == {"pv": "Retain"}
    assert server.kinds == ["application/merge-patch+json"]


def test_a_claim_that_is_not_bound_has_no_volume_yet(server: ApiServer) -> None:
    server.claims = {"data": {}}
    assert _RetainedVolumeProvider().create(PROPS).outs == {**PROPS, "volume": "", "policy": ""}


def test_a_policy_is_read_as_it_is_and_one_that_may_not_be_read_is_unknown(server: ApiServer) -> None:
    read = _RetainedVolumeProvider().read
    assert read("own/data", PROPS).outs == {**PROPS, "volume": "pv", "policy": "Delete"}
    server.forbidden = True
    assert read("own/data", PROPS).outs == {**PROPS, "volume": "pv", "policy": ""}
    server.claims = {}
    assert read("own/data", PROPS).id == ""


def test_a_refusal_names_claim_and_reason_and_does_not_say_that_nothing_was_changed(server: ApiServer) -> None:
    server.forbidden = True
    with pytest.raises(VolumeError, match=r"claim data .* 403: persistentvolumes is forbidden: User x") as refused:
        _RetainedVolumeProvider().create(PROPS)
    assert "Nothing was created" not in str(refused.value)
    server.forbidden, server.volumes = False, {}
    with pytest.raises(VolumeError, match="404: there is no /api/v1/persistentvolumes/pv"):
        _RetainedVolumeProvider().create(PROPS)


def test_of_several_claims_those_with_the_label_and_a_volume_are_retained(server: ApiServer) -> None:
    server.claims = {"one": {"volumeName": "pv"}, "unbound": {}}
    assert _RetainedVolumesProvider().create(SEVERAL).outs == {**SEVERAL, "policies": {"pv": "Retain"}}
    assert _RetainedVolumesProvider().create(OTHERS).outs == {**OTHERS, "policies": {}}


@pytest.mark.parametrize(
    ("provider", "inputs", "found"),
    [
        (_RetainedVolumeProvider(), PROPS, {"volume": "pv", "policy": "Retain"}),
        (_RetainedVolumesProvider(), SEVERAL, {"policies": {"pv": "Retain"}}),
    ],
)
def test_a_context_with_another_name_takes_the_place_of_the_recorded_one(
    server: ApiServer, provider: Any, inputs: dict[str, str], found: dict[str, Any]
) -> None:
    """A refresh reads with the recorded context, even with `--run-program`."""
    recorded = {**inputs, "context": "renamed since", **found}
    assert provider.read("own/data", recorded).outs == recorded
    assert provider.diff("own/data", recorded, inputs).changes
    assert provider.update("own/data", recorded, inputs).outs == {**inputs, **found}
    assert server.volumes == {"pv": "Retain"}
