"""The commands in messages: as the user types them in the program's directory, whichever app they are for."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest

from settings.commands import ops_command, pulumi_command


def test_the_programs_own_app_needs_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert pulumi_command("up", "prod") == "pulumi up -s prod"
    assert ops_command("restore", "dev", "--discard", "lost") == "python -m ops restore --stack dev --discard lost"


def test_ops_works_in_the_folder_of_a_second_app_and_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "apps" / "ledger"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert pulumi_command("up", "prod") == "pulumi -C apps/ledger up -s prod"
    assert ops_command("backup", "prod") == "python -m ops -C apps/ledger backup --stack prod"


def test_the_program_runs_elsewhere_and_asks_pulumi_for_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with mock.patch("pulumi.get_root_directory", return_value=str(tmp_path / "apps" / "ledger")):
        assert pulumi_command("destroy", "dev") == "pulumi -C apps/ledger destroy -s dev"


def test_no_message_spells_such_a_command_itself() -> None:
    repository = Path(__file__).parents[2]
    spelled = ("pulumi up -s", "pulumi destroy -s", "pulumi config set -s", "pulumi import -s", "-m ops {", "--stack {")
    found = [
        f"{file.relative_to(repository)}: {line.strip()}"
        for folder in ("components", "lookups", "ops", "policies", "settings")
        for file in (repository / folder).rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if any(each in line for each in spelled)
    ]
    assert not found
