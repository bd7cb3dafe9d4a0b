"""What is read from a state after a killed `up`, and what is mended of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.recover import mend_checkpoint, pending_creates
from ops.tokens import recorded_ids

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
