"""Which plugins a rehearsal takes for real."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rehearsal.plugin_path import DIRECTORY, PROVIDERS, PluginsMissingError, populate


def installed(directory: Path, name: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    executable = directory / f"pulumi-resource-{name}"
    executable.write_text("#!/bin/sh\n")
    executable.chmod(0o755)
    return executable


def environment(tmp_path: Path, *path: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.pathsep.join(map(str, path)), "PULUMI_HOME": str(tmp_path / "home"), **more}


def test_a_plugin_on_path_or_installed_by_pulumi_is_the_real_one(tmp_path: Path) -> None:
    on_path = installed(tmp_path / "path", "gitlab")
    by_pulumi = installed(tmp_path / "home/plugins/resource-kubernetes-v4.30.0", "kubernetes")
    kinds = populate(tmp_path / "bin", environment(tmp_path, tmp_path / "path"))
    assert (tmp_path / "bin/pulumi-resource-gitlab").resolve() == on_path
    assert (tmp_path / "bin/pulumi-resource-kubernetes").resolve() == by_pulumi
    assert {name for name in PROVIDERS if "real" in kinds[name]} == {"gitlab", "kubernetes"}


def test_the_stand_ins_of_a_rehearsal_around_this_one_do_not_pass_for_real(tmp_path: Path) -> None:
    real = installed(tmp_path / "path", "gitlab")
    populate(tmp_path / "outer", environment(tmp_path, tmp_path / "path"))
    inside = environment(tmp_path, tmp_path / "outer", tmp_path / "path", **{DIRECTORY: str(tmp_path / "outer")})
    kinds = populate(tmp_path / "inner", inside)
    assert (tmp_path / "inner/pulumi-resource-gitlab").readlink() == real
    assert {name for name in PROVIDERS if "real" in kinds[name]} == {"gitlab"}
    assert "stand-in" in kinds["python language host"]
    with pytest.raises(PluginsMissingError, match="pulumi plugin install resource kubernetes"):
        populate(tmp_path / "all-real", {**inside, "REHEARSAL_PLUGINS": "real"})
