"""Stack files are read as Pulumi reads them, and values that its reading would change are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.clients import load_settings
from settings import SettingsError
from settings.stack_file import read_yaml
from tests.unit.stack_files import refusal_of, write_stack

# As `pulumi config --json` of 3.259 returns them.
MEASURED: dict[str, Any] = {
    "on": "on",
    "yes": "yes",
    "n": "n",
    "TRUE": True,
    "12:30:45": "12:30:45",
    "1:30": "1:30",
    "3_000": 3000,
    "010": 8,
    "0o17": 15,
    "0x1F": 31,
    "0b11": 3,
    "1.10": 1.1,
    "1e3": 1000,
    ".5": 0.5,
    "+5": 5,
    "-0": 0,
    "09": 9,
    "1.2.3": "1.2.3",
    "~": None,
    "Null": None,
    '"on"': "on",
    "2027-12-31": "2027-12-31 00:00:00 +0000 UTC",
    '"2027-12-31"': "2027-12-31",
}


@pytest.mark.parametrize("written", MEASURED)
def test_a_value_is_read_as_pulumi_reads_it(tmp_path: Path, written: str) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(f"config:\n  a: {written}\n")
    found, right = read_yaml(file)["config"]["a"], MEASURED[written]
    assert (found, isinstance(found, bool), isinstance(found, str)) == (
        right,
        isinstance(right, bool),
        isinstance(right, str),
    )


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "config:\n  a: {b: 1, b: 2}\n"])
def test_a_duplicate_key_is_a_mistake(tmp_path: Path, text: str) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(text)
    with pytest.raises(yaml.YAMLError, match="occurs twice"):
        read_yaml(file)


def stack_in(directory: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    write_stack(directory, replacing=(old, new))
    monkeypatch.chdir(directory)


def test_ops_accepts_an_unquoted_date_as_up_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack_in(tmp_path, monkeypatch, 'expires: "2099-12-31"', "expires: 2099-12-31")
    settings = load_settings("dev")
    assert settings.delivery is not None
    assert str(settings.delivery.pull_credentials.expires) == "2099-12-31"


def test_ops_takes_a_key_without_a_namespace_for_the_project_s_as_up_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack_in(tmp_path, monkeypatch, "  invoicetron:backup:\n", "  backup:\n")
    assert load_settings("dev").backup


@pytest.mark.parametrize("new", ["issue: yes", "issue: true\n      issue: false"])
def test_ops_refuses_what_up_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: str) -> None:
    stack_in(tmp_path, monkeypatch, "issue: true", new)
    with pytest.raises(SettingsError):
        load_settings("dev")


def test_a_variable_that_pulumi_has_turned_into_a_time_is_refused() -> None:
    assert "in quotes" in refusal_of("app.environment", {"SINCE": "2027-12-31 00:00:00 +0000 UTC"})


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("secrets.postgresPassword", "secrets.postgresPassword"),
        ("app.port", "app.port"),
        ("app.environment.LOG_LEVEL", "app.environment.LOG_LEVEL"),
        ("backup.size", "backup.size"),
        ("protect", "protect"),
        ("backup", "backup"),
    ],
)
def test_a_value_that_only_pulumi_can_decrypt_is_told_with_the_way_back(path: str, key: str) -> None:
    # As `pulumi config set --secret` writes it; a run gets the value itself, `ops` does not.
    message = refusal_of(path, {"secure": "AAABAEHvYT9gQ8Wm4ZJ0"}, stack="dev")
    assert f"invoicetron:{key}\n      given:   an encrypted value\n" in message
    assert "pulumi config set" in message
    assert "--plaintext" in message
    assert "it was in a file" not in message
    assert "AAABAEHvYT9gQ8Wm4ZJ0" not in message
