"""A preview fails if it cannot query the cluster, and warns before an app that was deleted by hand is recreated."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from lookups.cluster import Cluster
from lookups.permissions import Permission, needed
from rehearsal.engine import EngineError
from rehearsal.homelab import PIPELINE_IMAGE
from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal
from tests.unit.program import load_settings


def kubeconfig(rehearsal: Rehearsal, directory: Path, *, server: str | None = None, token: str | None = None) -> Path:
    """The rehearsal's kubeconfig, with another server or token."""
    config = yaml.safe_load(Path(rehearsal.program.environment["KUBECONFIG"]).read_text())
    config["clusters"][0]["cluster"]["server"] = server or config["clusters"][0]["cluster"]["server"]
    config["users"][0]["user"]["token"] = token or config["users"][0]["user"]["token"]
    file = directory / "another-kubeconfig"
    file.write_text(json.dumps(config))
    return file


def refusal(rehearsal: Rehearsal, directory: Path, *, server: str | None = None, token: str | None = None) -> str:
    """How a preview of a new stack fails with a kubeconfig that differs in the server or the token."""
    file = kubeconfig(rehearsal, directory, server=server, token=token)
    rehearsal.program.init("dev")
    with pytest.raises(EngineError) as failed:
        rehearsal.program.with_environment({"KUBECONFIG": str(file)}).preview("dev")
    assert "Nothing was created or changed" in str(failed.value)
    assert not json.loads(rehearsal.program.run("stack", "export", "--stack", "dev"))["deployment"].get("resources")
    return str(failed.value)


def test_a_preview_against_an_unreachable_cluster_fails(rehearsal: Rehearsal, tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = f"https://127.0.0.1:{unused.getsockname()[1]}"
    assert f"does not answer at {nowhere}" in refusal(rehearsal, tmp_path, server=nowhere)


def test_a_preview_with_credentials_that_the_cluster_does_not_know_fails(rehearsal: Rehearsal, tmp_path: Path) -> None:
    assert "does not know the kubeconfig's user" in refusal(rehearsal, tmp_path, token="not-a-token")


def test_a_preview_with_credentials_that_may_not_read_the_stack_fails(rehearsal: Rehearsal, tmp_path: Path) -> None:
    token = rehearsal.kubectl("-n", "default", "create", "token", "default").strip()
    message = refusal(rehearsal, tmp_path, token=token)
    assert "does not show /api/v1/namespaces/invoicetron-dev" in message
    assert token not in message


def test_a_gateway_that_would_not_accept_the_route_is_reported_before_anything_is_made(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.configure("dev", "access.gateway.listener", "tls")
    with pytest.raises(EngineError) as refused:
        rehearsal.program.up("dev", "--skip-preview")
    assert "default/homelab-gateway has no listener tls. It has https, https-dev:" in str(refused.value)
    assert "Nothing was created or changed" in str(refused.value)
    assert "invoicetron-dev" not in rehearsal.kubectl("get", "namespaces", "-o", "name")
    assert not rehearsal.gitlab.app.writes


def test_all_missing_permissions_are_reported_at_once_before_anything_is_made(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    """A user who may do everything in the stack's namespace and nothing elsewhere, as administrators grant it."""
    kubectl = rehearsal.kubectl
    kubectl("create", "namespace", "invoicetron-prod")
    kubectl("-n", "default", "create", "serviceaccount", "deployer-of-prod")
    admin = ("--clusterrole=cluster-admin", "--serviceaccount=default:deployer-of-prod")
    kubectl("-n", "invoicetron-prod", "create", "rolebinding", "deployer-of-prod", *admin)
    try:
        token = kubectl("-n", "default", "create", "token", "deployer-of-prod").strip()
        program = rehearsal.program.with_environment({"KUBECONFIG": str(kubeconfig(rehearsal, tmp_path, token=token))})
        program.init("prod")
        with pytest.raises(EngineError) as refused:
            program.up("prod", "--skip-preview")
    finally:
        kubectl("-n", "default", "delete", "serviceaccount", "deployer-of-prod")
    message = str(refused.value)
    assert "Nothing was created or changed. Missing:" in message
    assert "get, patch persistentvolumes: the database's volume outlives its claim (protect)" in message
    assert "create, get, patch ciliumnetworkpolicies.cilium.io in the namespace cloudflare: " in message
    assert "in the namespace invoicetron-prod" not in message
    assert kubectl("-n", "invoicetron-prod", "get", "secrets", "-o", "name") == ""
    assert not rehearsal.gitlab.app.writes


class Unprivileged(Cluster):
    """The cluster as the permissions are asked for: the namespace exists, and the user may grant nobody more."""

    def __init__(self) -> None:
        """Needs no client."""

    def get(self, _version: str, _resource: str, name: str, _namespace: str | None = None) -> Mapping[str, Any]:
        return {"metadata": {"name": name}}

    def may(self, *_: object) -> bool:
        return False


def test_the_permissions_that_are_asked_for_are_enough(rehearsal: Rehearsal, tmp_path: Path) -> None:
    kubectl = rehearsal.kubectl
    # In every namespace, because the stack's does not exist yet.
    asked = [
        *needed(load_settings("dev"), Unprivileged()),
        Permission(verbs=("create",), group="", resource="namespaces"),
    ]
    rules = [{"apiGroups": [one.group], "resources": [one.resource], "verbs": [*one.verbs]} for one in asked]
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "user-of-dev"}}
    binding = ("clusterrolebinding", "user-of-dev", "--clusterrole=user-of-dev", "--serviceaccount=default:user-of-dev")
    kubectl("-n", "default", "create", "serviceaccount", "user-of-dev")
    kubectl("create", "-f", "-", stdin=json.dumps({**role, "rules": rules}))
    kubectl("create", *binding)
    try:
        token = kubectl("-n", "default", "create", "token", "user-of-dev").strip()
        program = rehearsal.program.with_environment({"KUBECONFIG": str(kubeconfig(rehearsal, tmp_path, token=token))})
        program.init("dev")
        program.up("dev", "--skip-preview")
        assert not program.up("dev", "--skip-preview").changes
    finally:
        kubectl("-n", "default", "delete", "serviceaccount", "user-of-dev")
        kubectl("delete", "clusterrole,clusterrolebinding", "user-of-dev")


def test_a_preview_warns_before_an_app_deleted_by_hand_is_recreated_with_the_placeholder(
    rehearsal: Rehearsal,
) -> None:
    preview = ("preview", "--stack", "dev", "--non-interactive")
    rehearsal.program.init("dev")
    assert "has no Deployment" not in rehearsal.program.run(*preview)
    rehearsal.program.up("dev", "--skip-preview")
    lifecycle = Lifecycle(rehearsal, "dev")
    lifecycle.deploy(PIPELINE_IMAGE.format(stack="dev", tag="aaaaaaaa"))
    assert "has no Deployment" not in rehearsal.program.run(*preview)
    rehearsal.kubectl("-n", "invoicetron-dev", "delete", "deployment", "invoicetron")
    assert "warning: The namespace invoicetron-dev has no Deployment invoicetron" in rehearsal.program.run(*preview)
    rehearsal.program.up("dev", "--skip-preview")
    assert lifecycle.image_running().endswith(":placeholder")
