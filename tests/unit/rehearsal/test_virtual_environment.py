"""Which Python Pulumi.yaml's options select for a program, as the real language host decides."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rehearsal.engine.virtual_environment import VirtualEnvironment, VirtualEnvironmentError


def taken(root: Path, options: Mapping[str, Any]) -> VirtualEnvironment:
    return VirtualEnvironment.of(root, root, options)


def usable(directory: Path) -> Path:
    python = directory / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return python


def test_the_environment_is_next_to_pulumi_yaml(tmp_path: Path) -> None:
    python = usable(tmp_path / "venv")
    found = taken(tmp_path, {"toolchain": "pip", "virtualenv": "venv"})
    found.ensure()
    found.validate()
    assert found.python == str(python)
    activated = found.activated({"PATH": "/usr/bin", "PYTHONHOME": "/opt", "VIRTUAL_ENV": "/other", "LANG": "C"})
    assert activated == {"PATH": f"{python.parent}:/usr/bin", "VIRTUAL_ENV": str(tmp_path / "venv"), "LANG": "C"}


def test_the_parent_of_a_linked_folder_is_the_parent_of_the_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "policies").mkdir(parents=True)
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "policies").symlink_to(tmp_path / "elsewhere" / "policies")
    python = usable(tmp_path / "program" / ".venv")
    assert taken(tmp_path / "program" / "policies", {"virtualenv": "../.venv"}).python == str(python)


@pytest.mark.parametrize("written", [".venv/", "./.venv", "apps/../.venv", "{root}/.venv"])
def test_the_path_may_be_written_in_any_way_and_contain_spaces(tmp_path: Path, written: str) -> None:
    root = tmp_path / "a program"
    environment = usable(root / "the real one").parent.parent
    (root / ".venv").symlink_to(environment)
    found = taken(root, {"virtualenv": written.format(root=root)})
    found.validate()
    # The path of the link itself: its target may change.
    assert found.python == str(root / ".venv" / "bin" / "python")


@pytest.mark.parametrize("there", [False, True], ids=["missing", "empty"])
def test_a_missing_environment_is_created_empty_and_has_no_pulumi(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / ".venv").mkdir()
    found = taken(tmp_path, {"virtualenv": ".venv"})
    found.ensure()
    found.validate()
    imported = subprocess.run([found.python, "-c", "import pulumi"], capture_output=True, text=True, check=False)
    assert "No module named 'pulumi'" in imported.stderr


def test_a_folder_that_is_no_environment_is_left_alone_and_refused_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "something").touch()
    found = taken(tmp_path, {"virtualenv": ".venv"})
    with pytest.raises(VirtualEnvironmentError, match=r"\.venv/bin/python -m pip list --format json`: fork/exec"):
        found.ensure()
    with pytest.raises(VirtualEnvironmentError, match=r"doesn't appear to be a virtual environment; run the following"):
        found.validate()
    (tmp_path / "file").touch()
    with pytest.raises(VirtualEnvironmentError, match="it is not a directory"):
        taken(tmp_path, {"virtualenv": "file"}).ensure()
    with pytest.raises(VirtualEnvironmentError, match=r"\"gone\", but \".*/gone\" doesn't exist"):
        taken(tmp_path, {"virtualenv": "gone"}).validate()


def test_without_the_option_the_python_on_path_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(usable(tmp_path / "named").parent))
    found = taken(tmp_path, {})
    found.validate()
    assert found.python == str(tmp_path / "named" / "bin" / "python")
    assert found.activated({"VIRTUAL_ENV": "/as/it/is"}) == {"VIRTUAL_ENV": "/as/it/is"}
    monkeypatch.setenv("PULUMI_PYTHON_CMD", "python9")
    with pytest.raises(VirtualEnvironmentError, match=r"\['python9'\] on your PATH"):
        _ = found.python


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"virtualenv": 1.0}, "virtualenv option must be a string"),
        ({"virtualenv": None}, "virtualenv option must be a string"),
        ({"toolchain": None, "virtualenv": ".venv"}, "toolchain option must be a string"),
        ({"toolchain": "conda"}, "unsupported toolchain option: conda"),
        ({"toolchain": "Pip"}, "unsupported toolchain option: Pip"),
        ({"toolchain": "", "virtualenv": ".venv"}, "unsupported toolchain option: $"),
        ({"typechecker": "none", "virtualenv": ".venv"}, "unsupported typechecker option: none"),
        ({"typechecker": "", "virtualenv": ".venv"}, "unsupported typechecker option: $"),
        ({"typechecker": "ty", "toolchain": "conda"}, "unsupported typechecker option: ty"),
        ({"toolchain": "uv"}, "install Pulumi to use those"),
        ({"typechecker": "mypy"}, "install Pulumi to use those"),
    ],
)
def test_invalid_or_unsupported_options_are_refused(tmp_path: Path, options: Mapping[str, Any], words: str) -> None:
    with pytest.raises(VirtualEnvironmentError, match=words):
        taken(tmp_path, options)


def test_a_lock_file_above_the_program_selects_another_toolchain(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").touch()
    (tmp_path / "program").mkdir()
    with pytest.raises(VirtualEnvironmentError, match="not uv with no type checker"):
        taken(tmp_path / "program", {"virtualenv": ".venv"})
    assert taken(tmp_path / "program", {"toolchain": "pip", "virtualenv": ".venv"})
