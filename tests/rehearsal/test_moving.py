"""A stack moves to another cluster, as the runbook says: the kubeconfig's context leads there, `up`, `ops restore`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rehearsal.controlplane import ControlPlane
from rehearsal.engine import EngineError
from rehearsal.life import Life
from rehearsal.toolchain import Tools
from rehearsal.world import World
from tests.rehearsal.backed_up import BackedUp


def test_a_stack_is_made_anew_on_another_cluster_and_gets_its_data_while_the_old_one_is_left_alone(
    rehearsal: World, tools: Tools, tmp_path: Path
) -> None:
    old = BackedUp(world=rehearsal)
    old.begin()
    content = old.fill()
    old.server.sql("CREATE ROLE reports_reader; GRANT SELECT ON invoices TO reports_reader")
    assert old.ops("backup").returncode == 0
    (backup,) = old.backups()
    dump = tmp_path / "database.dump"
    old.fetch(backup, tmp_path)
    left = Life(rehearsal, "dev").objects()

    with ControlPlane(tools, tmp_path / "new") as control_plane:
        program = rehearsal.program.with_environment({"KUBECONFIG": str(control_plane.kubeconfig)})
        new = BackedUp(world=replace(rehearsal, control_plane=control_plane, program=program))
        with pytest.raises(EngineError, match="would make an empty database in its place") as refused:
            program.up("dev")
        accepting = next(line for line in str(refused.value).splitlines() if "pulumi config set" in line)
        program.run(*accepting.split()[1:])
        changes = new.world.program.up("dev").changes
        assert changes["database"] == "create"
        assert set(changes.values()) <= {"create", "update"}, "something was deleted or replaced"
        assert Life(rehearsal, "dev").objects() == left
        life = Life(new.world, "dev")
        life.deploy(life.image)
        done = new.ops("restore", "--from", str(dump), "--expect", "invoices=500", "--yes")
        assert done.returncode == 0, done.stdout
        assert new.content() == content
        assert new.server.sql("SELECT has_table_privilege('reports_reader', 'invoices', 'select')") == "t"
        assert new.app() == (1, 1)
        assert not new.world.program.up("dev").changes
    assert old.content() == content
