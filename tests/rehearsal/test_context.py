"""A live stack and a kubeconfig that has another name for the same cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from rehearsal.engine import EngineError
from rehearsal.rehearsal import Rehearsal


def test_another_name_of_the_context_needs_one_up_that_first_runs_the_program(
    rehearsal: Rehearsal, tmp_path: Path
) -> None:
    program = rehearsal.program
    program.init("dev")
    rehearsal.configure("dev", "protect", "true")
    program.up("dev", "--skip-preview")

    kubeconfig = yaml.safe_load(Path(program.environment["KUBECONFIG"]).read_text())
    (context,) = kubeconfig["contexts"]
    context["name"] = "renamed"
    renamed = tmp_path / "kubeconfig"
    renamed.write_text(yaml.safe_dump(kubeconfig))
    elsewhere = program.with_environment({"KUBECONFIG": str(renamed)})
    rehearsal.configure("dev", "cluster.context", "renamed")

    # The refresh uses the provider as it is recorded, with the former name.
    with pytest.raises(EngineError, match="unreachable cluster"):
        elsewhere.up("dev", "--skip-preview")
    changes = elsewhere.up("dev", "--skip-preview", "--run-program").changes
    volumes = {"database-volume-retained", "backup-volume-retained"}
    assert changes == dict.fromkeys({"kubernetes", "namespace-deletion", *volumes}, "update")
    assert not elsewhere.up("dev", "--skip-preview").changes
