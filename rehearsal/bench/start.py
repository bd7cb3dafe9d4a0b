"""Measures the program itself, from process start to end, beside `import pulumi`."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rehearsal.bench.cpu import measured_process
from rehearsal.bench.figures import Figures
from rehearsal.engine import Program
from rehearsal.progress import step
from rehearsal.rehearsal import REPOSITORY, STACKS, Rehearsal

_REPEATS = 5

_IMPORTS = {
    "import pulumi": "import pulumi",
    "all of pulumi_cloudflare": "import pulumi, pulumi_cloudflare",
    "all of pulumi_gitlab": "import pulumi, pulumi_gitlab",
    "two classes of pulumi_cloudflare": "from sdks import cloudflare as one; one.Provider, one.DnsRecord, "
    "one.ZeroTrustAccessApplication",
    "what dev uses of pulumi_kubernetes": "from sdks import kubernetes as one; one.Provider, one.core.v1.Namespace, "
    "one.apps.v1.Deployment, one.batch.v1.CronJob, one.policy.v1.PodDisruptionBudget, one.rbac.v1.Role",
    "GitLab's provider": "from sdks import gitlab; gitlab.Provider",
    "httpx": "import pulumi, httpx",
    "Cloudflare's client": "import pulumi, httpx, cloudflare; cloudflare.Cloudflare(api_token='x').zero_trust",
    "connection and credentials of Kubernetes' client": "import pulumi; from kubernetes.client import ApiClient; "
    "from kubernetes.config import load_kube_config",
    "Kubernetes' client with one group of its API": "import pulumi; from kubernetes.client import CoreV1Api; "
    "from kubernetes.config import load_kube_config",
    "the settings": "import pulumi, settings",
}

_EMPTY = """
import pulumi
for number in range({resources}):
    pulumi.ComponentResource("empty:index:Empty", f"empty-{{number}}")
"""
"""A program that shows what Pulumi's SDK costs by itself: no inputs, no provider, no lookups."""


@dataclass(frozen=True, kw_only=True)
class Used:
    """What a process used from start to end."""

    cpu: float
    wall: float
    peak_mib: float

    @classmethod
    def median(cls, file: Path) -> Used:
        """The median of the lines that `measured_process.py` has written."""
        cpu, wall, peak = zip(*map(json.loads, file.read_text().splitlines()), strict=True)
        return cls(cpu=median(cpu), wall=median(wall), peak_mib=median(peak))


def measure(rehearsal: Rehearsal, *, repeats: int = _REPEATS, stacks: Sequence[str] = STACKS) -> list[Figures]:
    """Measures previews by the real engine. Ratios are of CPU time: most wall time waits for engine and plugins."""
    with step("importing what the program imports", usually=f"{repeats * 8} s"):
        used = {what: _import(statement, repeats) for what, statement in _IMPORTS.items()}
    bare = used["import pulumi"]
    imports = Figures(title="What imports cost", columns=("imported", "CPU seconds", "ratio", "peak MiB"))
    for what, one in used.items():
        imports.add(what, f"{one.cpu:.2f}", f"{one.cpu / bare.cpu:.1f}", f"{one.peak_mib:.0f}")
    title = "Python, from process start to its end"
    starts = Figures(title=title, columns=("process", "CPU seconds", "ratio", "wall seconds", "peak MiB"))

    def add(what: str, one: Used) -> None:
        starts.add(what, f"{one.cpu:.2f}", f"{one.cpu / bare.cpu:.1f}", f"{one.wall:.2f}", f"{one.peak_mib:.0f}")

    add("import pulumi", bare)
    for stack in stacks:
        with step(f"previewing {stack} {repeats} times", usually=f"{repeats * 4} s"):
            one, resources = preview(rehearsal.program, stack, repeats)
        add(f"the program, {stack}: {resources} resources", one)
        with step("previewing as many empty resources", usually=f"{repeats * 2} s"):
            one, _ = preview(_empty(rehearsal.program, resources), stack, repeats)
        add(f"a program with {resources} empty resources", one)
    return [starts, imports]


def preview(program: Program, stack: str, repeats: int = 1) -> tuple[Used, int]:
    """What the program's process uses in a preview, whichever language host starts it, and its number of resources."""
    with tempfile.TemporaryDirectory(prefix="start-") as directory:
        file = Path(directory) / "used"
        with _measured_python(program.directory, file):
            for _ in range(repeats):
                resources = sum(program.preview(stack).counts.values())
        return Used.median(file), resources


@contextmanager
def _measured_python(directory: Path, file: Path) -> Iterator[None]:
    """Replaces the program's virtual environment with one whose interpreter is measured when it runs the program."""
    virtual = directory / ".venv"
    real = virtual.readlink()
    virtual.unlink()
    (virtual / "bin").mkdir(parents=True)
    python = virtual / "bin" / "python"
    run = shlex.join([*measured_process(file), str(real / "bin" / "python")])
    # The dynamic provider and the policy pack use the same interpreter.
    programs = "*/pulumi-language-python-exec*|*/run_program.py*"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in\n{programs}) exec {run} "$@";;\nesac\nexec {shlex.quote(str(real))}/bin/python "$@"\n'
    )
    python.chmod(0o755)
    try:
        yield
    finally:
        python.unlink()
        python.parent.rmdir()
        virtual.rmdir()
        virtual.symlink_to(real)


def _empty(program: Program, resources: int) -> Program:
    """A program beside this one that only registers resources; its project and stacks have the same names."""
    directory = program.directory.with_name(f"empty-{resources}")
    directory.mkdir()
    for file in ("Pulumi.yaml", *(f"Pulumi.{stack}.yaml" for stack in STACKS)):
        (directory / file).symlink_to(program.directory / file)
    (directory / ".venv").symlink_to(sys.prefix)
    (directory / "__main__.py").write_text(_EMPTY.format(resources=resources - 1))  # the stack is a resource, too
    return Program(pulumi=program.pulumi, directory=directory, environment=program.environment)


def _import(statement: str, repeats: int) -> Used:
    with tempfile.TemporaryDirectory(prefix="start-") as directory:
        file = Path(directory) / "used"
        for _ in range(repeats):
            command = [*measured_process(file), sys.executable, "-c", statement]
            subprocess.run(command, cwd=REPOSITORY, check=True)
        return Used.median(file)
