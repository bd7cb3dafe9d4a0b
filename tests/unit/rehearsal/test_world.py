"""What a rehearsal takes over from the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearsal import world


def test_a_stack_file_is_copied_without_the_encryption_of_the_live_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    repository.mkdir()
    config = "# Only what differs.\nconfig:\n  invoicetron:namespace: invoicetron-dev\n"
    (repository / "Pulumi.dev.yaml").write_text(f"encryptionsalt: v1:c2FsdA==:v1:bm9uY2U=:dGV4dA==\n{config}")
    (repository / "Pulumi.prod.yaml").write_text(f"{config}secretsprovider: awskms://key\nencryptedkey: a2V5")
    monkeypatch.setattr(world, "REPOSITORY", repository)
    world.copy_program(tmp_path / "program")
    for stack in ("dev", "prod"):
        assert (tmp_path / "program" / f"Pulumi.{stack}.yaml").read_text() == config
