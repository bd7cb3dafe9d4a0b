from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import scratch
from tests.scratch import MEMORY_NEEDED, ROOM, in_memory

PAGE = 4096


@pytest.mark.parametrize(
    ("room", "flags", "taken"),
    [
        ((ROOM, MEMORY_NEEDED), 0, True),
        ((ROOM - PAGE, MEMORY_NEEDED), 0, False),
        ((64 * 2**20, MEMORY_NEEDED), 0, False),
        ((ROOM, MEMORY_NEEDED - 1), 0, False),
        ((ROOM, MEMORY_NEEDED), os.ST_NOSUID, True),
        ((ROOM, MEMORY_NEEDED), os.ST_NOEXEC, False),
    ],
)
def test_a_folder_in_memory_needs_room_and_must_run_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: tuple[int, int], flags: int, taken: bool
) -> None:
    free, memory = room
    about = SimpleNamespace(f_bavail=free // PAGE, f_frsize=PAGE, f_flag=flags)
    monkeypatch.setattr(os, "statvfs", lambda _: about)
    monkeypatch.setattr(scratch, "available_memory", lambda: memory)
    assert in_memory(tmp_path) == (tmp_path if taken else None)


def test_a_machine_without_such_a_folder_keeps_the_files_elsewhere(tmp_path: Path) -> None:
    assert in_memory(tmp_path / "none") is None
