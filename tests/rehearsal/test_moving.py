"""A stack moves to another cluster, as the runbook says: point the kubeconfig's context there, `up`, `ops restore`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.engine import EngineError
from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools
from tests.rehearsal.backed_up import BackedUp


def test_a_stack_is_recreated_with_its_data_on_another_cluster_and_the_old_one_is_left_alone(
    rehearsal: Rehearsal, tools: Tools, tmp_path: Path
) -> None:
    old = BackedUp(rehearsal=rehearsal)
    old.begin()
    content = old.fill()
    old.server.sql("CREATE ROLE reports_reader; GRANT SELECT ON invoices TO reports_reader")
    assert old.ops("backup").returncode == 0
    (backup,) = old.backups()
    dump = tmp_path / "database.dump"
    old.fetch(backup, tmp_path)
    left = Lifecycle(rehearsal, "dev").objects()

    with ControlPlane(tools, tmp_path / "new") as control_plane:
        program = rehearsal.program.with_environment({"KUBECONFIG": str(control_plane.kubeconfig)})
        new = BackedUp(rehearsal=replace(rehearsal, control_plane=control_plane, program=program))
        with pytest.raises(EngineError, match="would make an empty database in its place") as refused:
            program.up("dev")
        accepting = next(line for line in str(refused.value).splitlines() if "pulumi config set" in line)
        program.run(*accepting.split()[1:])
        changes = new.rehearsal.program.up("dev", "--skip-preview").changes
        assert changes["database"] == "create"
        assert set(changes.values()) <= {"create", "update"}, "something was deleted or replaced"
        assert Lifecycle(rehearsal, "dev").objects() == left
        assert not new.server.sql("SELECT FROM pg_tables WHERE schemaname = 'public'")
        lifecycle = Lifecycle(new.rehearsal, "dev")
        lifecycle.deploy(lifecycle.image)
        done = new.ops("restore", "--from", str(dump), "--expect", "invoices=500", "--yes")
        assert done.returncode == 0, done.stdout
        assert new.content() == content
        assert new.server.sql("SELECT has_table_privilege('reports_reader', 'invoices', 'select')") == "t"
        assert new.app() == (1, 1)
        assert not new.rehearsal.program.up("dev", "--skip-preview").changes
    assert old.content() == content
