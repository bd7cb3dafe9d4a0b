"""What an app's Pulumi.yaml must contain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lookups.project_file import ProjectFileError, check_project_file
from tests.unit.stack_files import ROOT

WHOLE: dict[str, Any] = {
    "name": "ledger",
    "options": {"refresh": "always"},
    "config": {"pulumi:disable-default-providers": {"value": ["*"]}},
}


def check(directory: Path, **changes: Any) -> None:
    (directory / "Pulumi.yaml").write_text(yaml.safe_dump({**WHOLE, **changes}))
    check_project_file(directory)


def test_a_project_file_with_both_is_accepted(tmp_path: Path) -> None:
    check(tmp_path)
    check_project_file(ROOT)


@pytest.mark.parametrize("options", [None, {}, {"refresh": "never"}, {"refresh": True}])
def test_without_the_refresh_nothing_is_deployed(tmp_path: Path, options: dict[str, Any] | None) -> None:
    with pytest.raises(ProjectFileError, match="placeholder image back") as refused:
        check(tmp_path, options=options)
    assert "cluster nobody chose" not in str(refused.value)


@pytest.mark.parametrize("declared", [None, {}, ["*"], {"value": ["gitlab"]}, {"default": ["*"]}])
def test_with_default_providers_nothing_is_deployed(tmp_path: Path, declared: object) -> None:
    with pytest.raises(ProjectFileError, match="cluster nobody chose"):
        check(tmp_path, config={"pulumi:disable-default-providers": declared})


def test_everything_that_is_missing_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ProjectFileError, match=r"(?s)options.*config"):
        check(tmp_path, options=None, config=None)


def test_two_apps_of_one_name_are_refused(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("ledger", "copied", "another", "broken", "empty")]
    for folder, name in zip(folders, ("ledger", "ledger", "another", "[", ""), strict=True):
        folder.mkdir()
        (folder / "Pulumi.yaml").write_text(yaml.safe_dump({**WHOLE, "name": name}) if name != "[" else name)
    with pytest.raises(ProjectFileError, match=f"name: ledger is also that of {folders[0]}/Pulumi.yaml"):
        check_project_file(folders[1], folders)
    check_project_file(folders[2], folders)
