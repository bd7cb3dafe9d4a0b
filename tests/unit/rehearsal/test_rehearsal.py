"""What a rehearsal copies from the repository."""

from __future__ import annotations

from pathlib import Path

from rehearsal import rehearsal


def test_a_stack_file_is_copied_without_the_encryption_of_the_live_stack(tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.mkdir()
    config = "# Only what differs.\nconfig:\n  invoicetron:namespace: invoicetron-dev\n"
    (live / "Pulumi.dev.yaml").write_text(f"encryptionsalt: v1:c2FsdA==:v1:bm9uY2U=:dGV4dA==\n{config}")
    (live / "Pulumi.prod.yaml").write_text(f"{config}secretsprovider: awskms://key\nencryptedkey: a2V5")
    rehearsal.copy_program(tmp_path / "program", live)
    for stack in ("dev", "prod"):
        assert (tmp_path / "program" / f"Pulumi.{stack}.yaml").read_text() == config
