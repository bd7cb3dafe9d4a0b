from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.scratch import ROOM, in_memory

PAGE = 4096


@pytest.mark.parametrize(
    ("free", "flags", "taken"),
    [
        (ROOM, 0, True),
        (ROOM - PAGE, 0, False),
        (64 * 2**20, 0, False),
        (ROOM, os.ST_NOSUID, True),
        (ROOM, os.ST_NOEXEC, False),
    ],
)
def test_a_folder_in_memory_needs_room_and_must_run_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, flags: int, taken: bool
) -> None:
    about = SimpleNamespace(f_bavail=free // PAGE, f_frsize=PAGE, f_flag=flags)
    monkeypatch.setattr(os, "statvfs", lambda _: about)
    assert in_memory(tmp_path) == (tmp_path if taken else None)


def test_a_machine_without_such_a_folder_keeps_the_files_elsewhere(tmp_path: Path) -> None:
    assert in_memory(tmp_path / "none") is None
