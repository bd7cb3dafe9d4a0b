"""Which plugins a rehearsal takes for the real ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rehearsal.engine.plugin_path import (
    DIRECTORY,
    HOST,
    PROVIDERS,
    PluginsMissingError,
    cache,
    populate,
    section,
    stand_ins,
)

PULUMI = Path("/nowhere/pulumi")


def installed(directory: Path, name: str, kind: str = "resource") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    executable = directory / f"pulumi-{kind}-{name}"
    executable.write_text("#!/bin/sh\n")
    executable.chmod(0o755)
    return executable


def environment(tmp_path: Path, *path: Path, **more: str) -> dict[str, str]:
    return {"PATH": os.pathsep.join(map(str, path)), "PULUMI_HOME": str(tmp_path / "home"), **more}


def test_a_plugin_on_path_or_installed_by_pulumi_is_the_real_one(tmp_path: Path) -> None:
    on_path = installed(tmp_path / "path", "gitlab")
    by_pulumi = installed(tmp_path / "home/plugins/resource-kubernetes-v4.30.0", "kubernetes")
    kinds = populate(tmp_path / "bin", environment(tmp_path, tmp_path / "path"), PULUMI)
    assert (tmp_path / "bin/pulumi-resource-gitlab").resolve() == on_path
    assert (tmp_path / "bin/pulumi-resource-kubernetes").resolve() == by_pulumi
    assert {name for name in PROVIDERS if "real" in kinds[name]} == {"gitlab", "kubernetes"}


def test_the_stand_ins_of_a_rehearsal_around_this_one_do_not_pass_for_real(tmp_path: Path) -> None:
    real = installed(tmp_path / "path", "gitlab")
    populate(tmp_path / "outer", environment(tmp_path, tmp_path / "path"), PULUMI)
    inside = environment(tmp_path, tmp_path / "outer", tmp_path / "path", **{DIRECTORY: str(tmp_path / "outer")})
    cache(tmp_path / "outer", tmp_path / "home", inside)
    kinds = populate(tmp_path / "inner", inside, PULUMI)
    assert (tmp_path / "inner/pulumi-resource-gitlab").readlink() == real
    assert {name for name in PROVIDERS if "real" in kinds[name]} == {"gitlab"}
    assert "stand-in" in kinds["python language host"]
    with pytest.raises(PluginsMissingError, match="pulumi plugin install resource kubernetes"):
        populate(tmp_path / "all-real", {**inside, "REHEARSAL_PLUGINS": "real"}, PULUMI)


def test_a_project_file_names_the_plugins_that_exist(tmp_path: Path) -> None:
    here = tmp_path / "bin"
    populate(here, environment(tmp_path, tmp_path / "path"), PULUMI)
    named = section(here)
    assert [one["name"] for one in named["providers"]] == sorted([*PROVIDERS, "pulumi-python"])
    assert named["languages"] == [{"name": "python", "path": str(here)}]
    for one in named["providers"]:
        assert (Path(one["path"]) / f"pulumi-resource-{one['name']}").is_file()


def test_plugins_that_a_project_file_does_not_name_are_found_in_the_cache(tmp_path: Path) -> None:
    dynamic = installed(tmp_path / "path", "pulumi-python")
    here = environment(tmp_path, tmp_path / "path")
    populate(tmp_path / "bin", here, PULUMI)
    (tmp_path / "bin" / dynamic.name).unlink()  # as next to a real language host
    cache(tmp_path / "bin", tmp_path / "pulumi", here)
    cached = {one.parent.name.rsplit("-v", 1)[0]: one.resolve() for one in tmp_path.glob("pulumi/plugins/*/*")}
    assert cached == {
        **{f"resource-{name}": tmp_path / f"bin/pulumi-resource-{name}" for name in PROVIDERS},
        "resource-pulumi-python": dynamic,
        "language-python": tmp_path / "bin/pulumi-language-python",
    }


@pytest.mark.parametrize("where", ["path", "beside the engine"])
def test_the_language_host_of_an_installed_pulumi_is_taken_unless_stand_ins_are_asked_for(
    tmp_path: Path, where: str
) -> None:
    real = installed(tmp_path / where, "python", "language")
    pulumi = tmp_path / "link-to-pulumi"
    pulumi.symlink_to(tmp_path / "beside the engine" / "pulumi")
    here = environment(tmp_path, tmp_path / "path")
    assert str(real) in populate(tmp_path / "auto", here, pulumi)[HOST]
    assert str(real) in (tmp_path / "auto" / real.name).read_text()
    assert not (tmp_path / "auto" / "pulumi-resource-pulumi-python").exists()
    kinds = populate(tmp_path / "standin", {**here, "REHEARSAL_PLUGINS": "standin"}, pulumi)
    assert "stand-in" in kinds[HOST]
    assert str(real) not in (tmp_path / "standin" / real.name).read_text()
    assert "rehearsal.engine.language_host" in stand_ins(kinds)


def test_all_real_means_the_language_host_too(tmp_path: Path) -> None:
    for name in PROVIDERS:
        installed(tmp_path / "path", name)
    here = environment(tmp_path, tmp_path / "path", REHEARSAL_PLUGINS="real")
    with pytest.raises(PluginsMissingError, match=r"pulumi-language-python: .*/docs/install"):
        populate(tmp_path / "without", here, PULUMI)
    installed(tmp_path / "path", "python", "language")
    kinds = populate(tmp_path / "with", here, PULUMI)
    assert all("real" in kind for kind in kinds.values())
    assert stand_ins(kinds) == []
