"""A cluster that cannot be asked fails the preview; an app that was deleted by hand is announced before it is made."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
import yaml

from rehearsal.engine import EngineError
from rehearsal.homelab import PIPELINE_IMAGE
from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal


def refusal(rehearsal: Rehearsal, directory: Path, *, server: str | None = None, token: str | None = None) -> str:
    """How a preview of a new stack fails with a kubeconfig that differs in the server or the token."""
    config = yaml.safe_load(Path(rehearsal.program.environment["KUBECONFIG"]).read_text())
    config["clusters"][0]["cluster"]["server"] = server or config["clusters"][0]["cluster"]["server"]
    config["users"][0]["user"]["token"] = token or config["users"][0]["user"]["token"]
    file = directory / "another-kubeconfig"
    file.write_text(json.dumps(config))
    rehearsal.program.init("dev")
    with pytest.raises(EngineError) as failed:
        rehearsal.program.with_environment({"KUBECONFIG": str(file)}).preview("dev")
    assert "Nothing was created or changed" in str(failed.value)
    assert not json.loads(rehearsal.program.run("stack", "export", "--stack", "dev"))["deployment"].get("resources")
    return str(failed.value)


def test_a_preview_against_a_cluster_that_is_away_fails(rehearsal: Rehearsal, tmp_path: Path) -> None:
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


def test_an_app_that_was_deleted_by_hand_is_announced_before_it_is_made_with_the_placeholder(
    rehearsal: Rehearsal,
) -> None:
    preview = ("preview", "--stack", "dev", "--non-interactive")
    rehearsal.program.init("dev")
    assert "has no Deployment" not in rehearsal.program.run(*preview)
    rehearsal.program.up("dev")
    lifecycle = Lifecycle(rehearsal, "dev")
    lifecycle.deploy(PIPELINE_IMAGE.format(stack="dev", tag="aaaaaaaa"))
    assert "has no Deployment" not in rehearsal.program.run(*preview)
    rehearsal.kubectl("-n", "invoicetron-dev", "delete", "deployment", "invoicetron")
    assert "warning: The namespace invoicetron-dev has no Deployment invoicetron" in rehearsal.program.run(*preview)
    rehearsal.program.up("dev")
    assert lifecycle.image_running().endswith(":placeholder")
