"""Every figure of the README: `make bench`. Ratios, side by side in one run, because machines differ."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.table import Table

from rehearsal import bench_backup, toolchain
from rehearsal.progress import CONSOLE, step
from rehearsal.run_program import TIMINGS
from rehearsal.world import REPOSITORY, STACKS, World

_REPEATS = 3
_IMPORT = (
    "import time, pulumi; used = time.process_time(); from rehearsal.run_program import peak_kib; import json; "
    "print(json.dumps([used, peak_kib()]))"
)
_SERVER_FIELDS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "ownerReferences")


def run(rehearsal: Callable[[], AbstractContextManager[World]]) -> None:
    """Prints every table."""
    started = time.monotonic()
    with rehearsal() as world:
        warm = time.monotonic() - started
        for stack in STACKS:
            world.program.init(stack)
        _print_set_up(warm)
        _print_start(world)
        for stack in STACKS:
            _print_against_kubectl(world, stack)
    _print_backups()


def _print_set_up(warm: float) -> None:
    table = Table("set-up", "seconds", title="Set-up of the rehearsal")
    for what, seconds in toolchain.cold_timings().items():
        table.add_row(f"cold, when this cache was filled: {what}", f"{seconds:.0f}")
    table.add_row("warm start, to a ready control plane", f"{warm:.1f}")
    CONSOLE.print(table)


def _print_start(world: World) -> None:
    """From process start to the last registered resource, in a preview by the real engine.

    The ratio is of CPU time: most of the wall time is spent waiting for the engine and its plugins.
    """
    bare = _median([_bare_import() for _ in range(_REPEATS)])
    title = "Python, from process start to the last registered resource"
    table = Table("process", "CPU seconds", "ratio", "wall seconds", "peak MiB", title=title)
    table.add_row("import pulumi", f"{bare.cpu:.2f}", "1.0", f"{bare.wall:.2f}", f"{bare.peak_kib / 1024:.0f}")
    for stack in STACKS:
        with step(f"previewing {stack} {_REPEATS} times", usually="15 s"):
            used = _median([_program_start(world, stack) for _ in range(_REPEATS)])
        ratio, peak = f"{used.cpu / bare.cpu:.1f}", f"{used.peak_kib / 1024:.0f}"
        table.add_row(f"the program, {stack}", f"{used.cpu:.2f}", ratio, f"{used.wall:.2f}", peak)
    CONSOLE.print(table)


@dataclass(frozen=True, kw_only=True)
class _Used:
    cpu: float
    wall: float
    peak_kib: float


def _median(runs: list[_Used]) -> _Used:
    return _Used(
        cpu=median(one.cpu for one in runs),
        wall=median(one.wall for one in runs),
        peak_kib=median(one.peak_kib for one in runs),
    )


def _bare_import() -> _Used:
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", _IMPORT], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    wall = time.monotonic() - started
    cpu, peak = json.loads(done.stdout)
    return _Used(cpu=cpu, wall=wall, peak_kib=peak)


def _program_start(world: World, stack: str) -> _Used:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "timings.json"
        world.program.with_environment({TIMINGS: str(file)}).preview(stack)
        timing = json.loads(file.read_text())
    return _Used(cpu=timing["cpu_seconds"], wall=timing["seconds"], peak_kib=timing["peak_kib"])


def _print_against_kubectl(world: World, stack: str) -> None:
    ours: dict[str, float] = {}
    with step(f"{stack}: up, up again, destroy", usually="30 s"):
        ours["from nothing"] = _seconds(lambda: world.program.up(stack, "--skip-preview"))
        objects = _objects(world, stack)
        ours["no change"] = _seconds(lambda: world.program.up(stack, "--skip-preview"))
        world.program.run("state", "unprotect", "--all", "--yes", "--stack", stack)
        ours["removal"] = _seconds(lambda: world.program.destroy(stack, "--skip-preview"))
    theirs: dict[str, float] = {}
    namespace = f"invoicetron-{stack}"
    with tempfile.TemporaryDirectory() as directory, step(f"{stack}: kubectl apply, diff, delete", usually="20 s"):
        file = str(Path(directory) / "objects.json")
        Path(file).write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

        def apply() -> None:
            world.kubectl("apply", "--server-side", "-f", file)
            world.kubectl("-n", namespace, "rollout", "status", "statefulset/invoicetron-db", "--timeout=120s")

        theirs["from nothing"] = _seconds(apply)
        theirs["no change"] = _seconds(lambda: world.kubectl("diff", "--server-side", "-f", file, check=False))
        theirs["removal"] = _seconds(lambda: world.kubectl("delete", "--wait", "--ignore-not-found", "-f", file))
    start = _seconds(lambda: world.program.run("stack", "ls"))
    table = Table("what", "pulumi, s", "kubectl, s", "ratio", title=f"{stack}: {len(objects)} Kubernetes objects")
    for what, seconds in ours.items():
        table.add_row(what, f"{seconds:.1f}", f"{theirs[what]:.1f}", f"{seconds / theirs[what]:.1f}")
    table.add_row("engine start-up alone, part of each", f"{start:.1f}", "", "")
    CONSOLE.print(table)


def _print_backups() -> None:
    table = Table("what", "seconds", "bare tool, s", "ratio", title="Backup and restore beside pg_dump and pg_restore")
    with step("backing up and restoring a generated database of 1 GB", usually="5 min"):
        measurements = bench_backup.measure()
    for one in measurements:
        table.add_row(one.what, f"{one.seconds:.1f}", f"{one.bare_seconds:.1f}", f"{one.ratio:.2f}")
    CONSOLE.print(table)


def _seconds(run_: Callable[[], object]) -> float:
    started = time.monotonic()
    run_()
    return time.monotonic() - started


def _objects(world: World, stack: str) -> list[dict[str, Any]]:
    """The stack's Kubernetes objects as the API server has them, without what it added itself; namespace first."""
    found = []
    for resource in world.program.export(stack)["deployment"]["resources"]:
        inputs = resource.get("inputs", {})
        if not resource["type"].startswith("kubernetes:") or "kind" not in inputs:
            continue
        metadata = inputs["metadata"]
        kind = (
            f"{inputs['kind']}.{inputs['apiVersion'].partition('/')[0]}"
            if "/" in inputs["apiVersion"]
            else inputs["kind"]
        )
        where = ["-n", metadata["namespace"]] if "namespace" in metadata else []
        live = json.loads(world.kubectl(*where, "get", kind, metadata["name"], "-o", "json"))
        live.pop("status", None)
        for name in _SERVER_FIELDS:
            live["metadata"].pop(name, None)
        if inputs["kind"] == "PersistentVolumeClaim":
            live["spec"].pop("volumeName", None)
            live["metadata"].pop("annotations", None)
        if inputs["kind"] == "Service":
            live["spec"] = {key: value for key, value in live["spec"].items() if not key.startswith("clusterIP")}
            if inputs["spec"].get("clusterIP") == "None":
                live["spec"]["clusterIP"] = "None"
        found.append(live)
    return sorted(found, key=lambda one: str(one["kind"]) != "Namespace")
