"""The dynamic provider, run as a fork, has what a process of its own would have, and nothing of the rehearsal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rehearsal.engine.plugin_path import populate
from tests.pages import REPOSITORY

LOOK = """
import json, sys
import kubernetes.config.kube_config
import rehearsal.engine.dynamic_provider as forked
forked.become_pristine()
before = {name.partition(".")[0] for name in sys.modules}
import components
print(json.dumps([sys.path, sorted(before), components.__file__]))
"""


def test_the_provider_imports_from_its_directory_and_nothing_of_the_rehearsal(tmp_path: Path) -> None:
    (tmp_path / "components.py").touch()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    path, modules, components = json.loads(done.stdout)
    assert str(REPOSITORY) not in path
    assert not {"rehearsal", "kubernetes"} & set(modules)
    assert components == str(tmp_path / "components.py")


@pytest.mark.parametrize(
    ("environment", "is_fork"), [("ours", True), ("other", False), ("missing", False), ("", False)]
)
def test_only_a_program_in_this_environment_gets_a_fork(tmp_path: Path, environment: str, is_fork: bool) -> None:
    (tmp_path / "ours").symlink_to(sys.prefix)
    (tmp_path / "other" / "bin").mkdir(parents=True)
    bin_ = tmp_path / "bin"
    populate(bin_, {"PATH": "/usr/bin:/bin", "REHEARSAL_PLUGINS": "standin"}, tmp_path / "pulumi")
    wrapper = bin_ / "pulumi-resource-pulumi-python"
    shown = wrapper.read_text().replace(f"exec {sys.executable}", "exec echo")
    wrapper.write_text(shown)
    said = subprocess.run(
        [wrapper],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PULUMI_RUNTIME_VIRTUALENV": environment},
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert ("fork_client.py" in said, "watched.py" in said) == (is_fork, not is_fork)
