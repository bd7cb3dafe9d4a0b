"""What `make bench` writes into docs/figures.md."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.bench import PAGE as PAGE_OF_THE_REPOSITORY
from rehearsal.bench import What
from rehearsal.bench.backup import SCRIPTS
from rehearsal.bench.cpu import measured_process
from rehearsal.bench.figures import Figures, write
from rehearsal.bench.restore_parts import PARTS, leave_out

PAGE = """# Figures

<!-- made by `make bench WHAT=start` -->
old
<!-- end -->

In words.

<!-- made by `make bench WHAT=up` -->
**Another group's**
<!-- end -->
"""


def figures(*rows: tuple[str, str]) -> Figures:
    table = Figures(title="Start", columns=("process", "ratio"))
    for row in rows:
        table.add(*row)
    return table


def test_a_group_replaces_its_own_tables_and_nothing_else(tmp_path: Path) -> None:
    page = tmp_path / "figures.md"
    page.write_text(PAGE)
    for ratio in ("4.0", "3.9"):
        write(page, "start", [figures(("dev", ratio)), figures()])
    new = "**Start**\n\n| process | ratio |\n| --- | --- |\n| dev | 3.9 |\n"
    assert page.read_text() == PAGE.replace("old\n", f"{new}\n{new.replace('| dev | 3.9 |' + chr(10), '')}")


def test_a_group_without_a_place_on_the_page_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "figures.md"
    page.write_text(PAGE)
    with pytest.raises(ValueError, match="no place for the figures of scale"):
        write(page, "scale", [figures()])
    assert page.read_text() == PAGE


def test_a_row_has_a_cell_for_each_column() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        figures().add("dev")


def test_the_page_has_a_place_for_every_group() -> None:
    page = PAGE_OF_THE_REPOSITORY.read_text()
    assert re.findall(r"^<!-- made by `make bench WHAT=(\S+)` -->$", page, re.MULTILINE) == list(What)


def test_a_measured_process_keeps_its_exit_status_and_records_its_usage(tmp_path: Path) -> None:
    file = tmp_path / "used"
    memory = "x = bytearray(40 * 1024 * 1024); import sys; sys.exit(7)"
    for _ in range(2):
        done = subprocess.run([*measured_process(file), sys.executable, "-c", memory], check=False)
        assert done.returncode == 7
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 2
    for cpu, seconds, peak_mib in lines:
        assert min(cpu, seconds) > 0
        assert 40 < peak_mib < 80


@pytest.mark.parametrize("part", PARTS)
def test_every_measured_part_of_a_restore_exists_in_its_scripts(part: str, tmp_path: Path) -> None:
    scripts = shutil.copytree(SCRIPTS, tmp_path / "scripts")
    leave_out(part, scripts)
    assert [file.name for file in SCRIPTS.iterdir() if file.read_bytes() != (scripts / file.name).read_bytes()]
    for name in ("restore.sh", "incoming.sh"):
        subprocess.run(["sh", "-n", scripts / name], check=True)  # noqa: S607 - by PATH, as pods do
    with pytest.raises(ValueError, match="nothing to measure"):
        leave_out(part, scripts)
