"""A folder from which `ops` finds a stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.stack_files import write_stack


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The program's directory, with the tests' own stack dev."""
    write_stack(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path
