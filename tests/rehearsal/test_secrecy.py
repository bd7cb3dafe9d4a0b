"""No secret that 1Password or GitLab handed out is readable anywhere afterwards."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal


def spellings(secret: str) -> set[str]:
    """The secret, and how it looks in base64 wherever it stands in a longer text."""
    found = {secret}
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + secret.encode()).decode()
        found.add(encoded[4 if shift else 0 : len(encoded) - 8])
    return found


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_no_secret_is_in_state_output_or_logs(rehearsal: Rehearsal, tmp_path: Path, stack: str) -> None:
    rehearsal.program.init(stack)
    events = tmp_path / "rehearsal" / "events.json"
    texts = {"first up": rehearsal.program.up(stack, "--debug", "--event-log", str(events)).output}
    assert events.stat().st_size
    Lifecycle(rehearsal, stack).rehearsal.onepassword.rotate(stack)
    texts["rotation"] = rehearsal.program.up(stack, "--diff").output
    texts["state"] = json.dumps(rehearsal.program.export(stack))
    texts["outputs"] = json.dumps(rehearsal.program.outputs(stack))
    for file in (tmp_path / "rehearsal").rglob("*"):
        if file.is_file() and not file.is_symlink():
            texts[str(file)] = file.read_text(errors="replace")

    handed_out = rehearsal.onepassword.handed_out | rehearsal.gitlab.handed_out
    assert len(handed_out) >= 4
    shown = [
        name
        for name, text in texts.items()
        for secret in handed_out
        if len(secret) >= 8 and any(spelling in text for spelling in spellings(secret))
    ]
    assert shown == []
