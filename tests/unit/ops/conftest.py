"""A folder from which `ops` finds a stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stacks import STACKS


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program's directory, with the tests' own stack dev."""
    for name in ("Pulumi.yaml", "Pulumi.dev.yaml"):
        (tmp_path / name).write_text((STACKS / name).read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path
