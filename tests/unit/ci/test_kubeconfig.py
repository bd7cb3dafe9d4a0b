"""The GitLab agent's kubeconfig, which every job has, as opposed to a kubeconfig left in an unprotected variable."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ci.kubeconfig import is_credential
from ci.preview import ExposedError, is_live

AGENT = {"name": "agent:7", "user": {"token": "ci:7:glcbt-64_abc"}}
OWN = {"name": "administrator", "user": {"token": "hunter2hunter2"}}


def kubeconfig(directory: Path, *users: dict[str, Any]) -> str:
    """A file as GitLab writes it for a job."""
    file = directory / f"KUBECONFIG-{len(list(directory.iterdir()))}"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "users": list(users)}))
    return str(file)


def test_a_gitlab_agents_kubeconfig_is_not_an_exposed_credential(tmp_path: Path) -> None:
    given = {"KUBECONFIG": kubeconfig(tmp_path, AGENT, {**AGENT, "name": "agent:12"})}
    assert not is_live(given)
    assert not is_live({**given, "CI_COMMIT_REF_PROTECTED": "true"}), "and it alone makes no live preview"


@pytest.mark.parametrize(
    "user",
    [
        OWN,
        {"name": "agent:7", "user": {"token": "hunter2"}},
        {"name": "agent:7", "user": {"token": "ci:7:job", "client-key-data": "aaaa"}},
        {"name": "agent:7", "user": {"exec": {"command": "cat"}}},
        {"name": "gitlab agent:7", "user": {"token": "ci:7:job"}},
    ],
)
def test_a_user_merged_into_an_agents_kubeconfig_is_an_exposed_credential(tmp_path: Path, user: dict[str, Any]) -> None:
    with pytest.raises(ExposedError, match="KUBECONFIG") as refused:
        is_live({"KUBECONFIG": kubeconfig(tmp_path, AGENT, user)})
    assert "hunter2" not in str(refused.value)


def test_one_file_with_credentials_among_several_is_enough(tmp_path: Path) -> None:
    agent, own = kubeconfig(tmp_path, AGENT), kubeconfig(tmp_path, OWN)
    assert is_credential(os.pathsep.join([agent, own]))
    assert not is_credential(os.pathsep.join([agent, agent]))


@pytest.mark.parametrize(
    "text", ["", "[]", "users: 7", "users: [7]", "{", "users: [{name: 'agent:7', user: x}]", "users: \xff"]
)
def test_a_file_that_is_not_a_kubeconfig_counts_as_a_credential(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text, encoding="latin-1")
    assert is_credential(str(tmp_path / "file"))


@pytest.mark.parametrize("text", ["kind: Config", "users:", "users: []"])
def test_a_file_without_users_is_no_credential(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)
    assert not is_credential(str(tmp_path / "file"))


def test_the_text_of_a_kubeconfig_in_place_of_its_path_is_a_credential() -> None:
    assert is_credential("apiVersion: v1\nusers: [{name: administrator}]")
