"""What is read from a state after a killed `up`, and what is mended of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ops import recover as module
from ops.command_line import PulumiError
from ops.recover import mend_checkpoint, pending_creates, recover
from ops.recover.deploy_tokens import recorded_ids
from ops.recover.state_import import Made

GOOD = json.dumps({"version": 3})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / ".pulumi" / "stacks" / "invoicetron"
    folder.mkdir(parents=True)
    return folder


def mended(tmp_path: Path, backend: str | None = None) -> bool:
    return mend_checkpoint("dev", backend or tmp_path.as_uri())


def test_a_half_written_checkpoint_is_replaced_by_its_backup(tmp_path: Path, folder: Path) -> None:
    (folder / "dev.json").write_text(GOOD[:-3])
    (folder / "dev.json.bak").write_text(GOOD)
    assert mended(tmp_path)
    assert (folder / "dev.json").read_text() == GOOD
    assert not mended(tmp_path)


def test_a_checkpoint_that_is_missing_altogether_is_taken_from_its_backup(tmp_path: Path, folder: Path) -> None:
    (folder / "dev.json.bak").write_text(GOOD)
    assert mended(tmp_path)
    assert (folder / "dev.json").read_text() == GOOD


def test_a_good_checkpoint_is_never_replaced_and_another_stacks_is_not_looked_at(tmp_path: Path, folder: Path) -> None:
    (folder / "dev.json").write_text('{"version": 3, "newer": true}')
    (folder / "dev.json.bak").write_text(GOOD)
    (folder / "prod.json").write_text("")
    (folder / "prod.json.bak").write_text(GOOD)
    assert not mended(tmp_path)
    assert "newer" in (folder / "dev.json").read_text()
    assert (folder / "prod.json").read_text() == ""


def test_a_backup_that_is_not_readable_itself_is_left_alone(tmp_path: Path, folder: Path) -> None:
    (folder / "dev.json").write_text("")
    (folder / "dev.json.bak").write_text("{")
    assert not mended(tmp_path)


def test_empty_attributes_are_removed_and_good_ones_stay(tmp_path: Path, folder: Path) -> None:
    (folder / "dev.json").write_text(GOOD)
    (folder / "dev.json.attrs").write_text("")
    (folder / "dev.json.bak.attrs").write_text("{}")
    assert mended(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == ["dev.json", "dev.json.bak.attrs"]


def test_only_the_file_backend_is_mended(tmp_path: Path, folder: Path) -> None:
    (folder / "dev.json").write_text("")
    (folder / "dev.json.bak").write_text(GOOD)
    assert not mended(tmp_path, "s3://bucket?endpoint=https://minio.example.com")


def test_only_creates_are_pending_creates() -> None:
    operations = [
        {"type": "creating", "resource": {"urn": "a", "type": "t"}},
        {"type": "updating", "resource": {"urn": "b", "type": "t"}},
    ]
    assert list(pending_creates({"deployment": {"pending_operations": operations}})) == ["a"]
    assert pending_creates({"deployment": {}}) == {}


def test_a_recorded_deploy_token_is_known_by_the_last_part_of_its_id() -> None:
    token = {"type": "gitlab:index/projectDeployToken:ProjectDeployToken", "id": "57:4"}
    variable = {"type": "gitlab:index/projectVariable:ProjectVariable", "id": "57:KEY:*"}
    assert recorded_ids({"deployment": {"resources": [token, variable]}}) == {"4"}


@pytest.mark.parametrize("backend", ["file://./state", "file://~/state", "file://./state?no_tmp_dir=true"])
def test_a_checkpoint_is_looked_for_where_the_engine_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "state/.pulumi/stacks/invoicetron"
    folder.mkdir(parents=True)
    (folder / "dev.json.bak").write_text(GOOD)
    assert mended(tmp_path, backend)
    assert (folder / "dev.json").read_text() == GOOD


class FakePulumi:
    """A state with one pending create, and a command line whose refresh fails once."""

    def __init__(self) -> None:
        parent, provider = "urn:parent", "urn:provider"
        self.pending = {"urn": "urn:x", "type": "t", "parent": parent, "provider": f"{provider}::id"}
        self.resources: list[dict[str, str]] = [{"urn": parent}, {"urn": provider}]
        self.refreshes = 0

    def run(self, command: str, *_: str) -> str:
        if command == "refresh":
            self.refreshes += 1
            if self.refreshes == 1:
                raise PulumiError("a provider does not answer")
        operations = [{"type": "creating", "resource": self.pending}]
        return json.dumps({"deployment": {"resources": self.resources, "pending_operations": operations}})

    def imported(self, _stack: str, made: Sequence[Made]) -> None:
        self.resources.extend({"urn": self.pending["urn"]} for _ in made)


def test_what_was_made_is_recorded_before_it_is_no_longer_pending_and_once_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fake = FakePulumi()
    monkeypatch.setattr(module, "pulumi", fake.run)
    monkeypatch.setattr(module, "import_into_state", fake.imported)
    with pytest.raises(PulumiError):
        recover("dev", lambda *_: "id")
    assert [one["urn"] for one in fake.resources].count("urn:x") == 1
    assert recover("dev", lambda *_: "id").imported == {"urn:x": "id"}
    assert [one["urn"] for one in fake.resources].count("urn:x") == 1
