"""The groups of `make bench` run to their end; the tests do not judge their figures."""

from __future__ import annotations

from pathlib import Path

from rehearsal.bench import scale, start
from rehearsal.bench.figures import Figures
from rehearsal.rehearsal import Rehearsal


def column(table: Figures, name: str) -> list[float]:
    where = table.columns.index(name)
    return [float(row[where]) for row in table.rows]


def test_measuring_the_start_leaves_the_program_s_environment_unchanged(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    virtual = rehearsal.program.directory / ".venv"
    before = virtual.readlink()
    starts, imports = start.measure(rehearsal, repeats=1, stacks=("dev",))
    assert virtual.readlink() == before
    assert column(imports, "ratio")[0] == 1.0
    bare, program, empty = column(starts, "ratio")
    assert bare == 1.0
    assert program > max(bare, empty)
    assert empty > 0


def test_an_up_is_measured_beside_other_stacks(rehearsal: Rehearsal) -> None:
    (table,) = scale.measure(rehearsal, stacks=(1, 2), repeats=1)
    assert column(table, "stacks") == [1, 2]
    assert column(table, "ratio")[0] == 1.0
    assert min(column(table, "ms of CPU a resource")) > 0
    assert min(column(table, "engine's peak MiB")) > 1
    stacks = {file.name for file in Path(rehearsal.program.directory).glob("Pulumi.s*.yaml")}
    assert stacks == {"Pulumi.s0.yaml", "Pulumi.s1.yaml"}
