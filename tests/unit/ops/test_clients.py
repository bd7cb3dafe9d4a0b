"""The stack file as `ops` reads it: as a person writes it, and as Pulumi rewrites it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lookups.credentials import CredentialsError
from ops.clients import kubernetes_client, load_settings
from tests.stacks import STACKS


@pytest.mark.parametrize("written", ["true", '"true"'])
def test_a_boolean_is_one_however_the_file_spells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    shutil.copy(STACKS / "Pulumi.yaml", tmp_path)
    file = Path(shutil.copy(STACKS / "Pulumi.prod.yaml", tmp_path))
    file.write_text(file.read_text().replace("protect: true", f"protect: {written}"))
    monkeypatch.chdir(tmp_path)
    assert load_settings("prod").protect is True


@pytest.mark.parametrize("content", [None, "contexts: []", "{"], ids=["no file", "another context", "no YAML"])
def test_a_kubeconfig_that_leads_nowhere_is_told_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    file = tmp_path / "kubeconfig"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(file))
    monkeypatch.chdir(STACKS)
    with pytest.raises(
        CredentialsError, match=f"(?s)the context homelab cannot be read from {file}.*Export KUBECONFIG"
    ):
        kubernetes_client(load_settings("dev"))
