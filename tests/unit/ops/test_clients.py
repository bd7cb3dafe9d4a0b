"""The stack file as `ops` reads it: as a person writes it, and as Pulumi rewrites it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ops.clients import load_settings
from tests.unit.program import REPOSITORY


@pytest.mark.parametrize("written", ["true", '"true"'])
def test_a_boolean_is_one_however_the_file_spells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    file = Path(shutil.copy(REPOSITORY / "Pulumi.prod.yaml", tmp_path))
    file.write_text(file.read_text().replace("protect: true", f"protect: {written}"))
    monkeypatch.chdir(tmp_path)
    assert load_settings("prod").protect is True
