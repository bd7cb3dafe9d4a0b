"""Measures `up` and `destroy`: in seconds, in CPU seconds of all processes, and beside kubectl on the same objects."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.bench import cpu
from rehearsal.bench.figures import Figures
from rehearsal.progress import step
from rehearsal.rehearsal import STACKS, Rehearsal

_SERVER_FIELDS = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "ownerReferences")


def measure(rehearsal: Rehearsal) -> list[Figures]:
    """Measures each stack, which does not exist before and is gone afterwards."""
    return [_measure(rehearsal, stack) for stack in STACKS]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds, and CPU seconds by group of `bench.cpu`."""

    wall: float
    cpu: dict[str, float]


def measured(run: Callable[[], object]) -> Cost:
    """Runs a command and measures it until it returns."""
    before, started = cpu.used(), time.monotonic()
    run()
    wall = time.monotonic() - started
    after = cpu.used()
    return Cost(wall=wall, cpu={group: after[group] - before[group] for group in after})


def _measure(rehearsal: Rehearsal, stack: str) -> Figures:
    ours: dict[str, Cost] = {}
    with step(f"{stack}: up, up again, destroy, all of it again", usually="1 min"):
        ours["from nothing"] = measured(lambda: rehearsal.program.up(stack, "--skip-preview"))
        objects = _objects(rehearsal, stack)
        ours["no change"] = measured(lambda: rehearsal.program.up(stack, "--skip-preview"))
        ours["no change, with its preview"] = measured(lambda: rehearsal.program.up(stack))
        with _engine_logs(rehearsal):
            ours["the same with the engine's logs"] = measured(lambda: rehearsal.program.up(stack))
        _unprotect(rehearsal, stack)
        ours["removal"] = measured(lambda: rehearsal.program.destroy(stack, "--skip-preview"))
        # A protected database's volume outlives it, and would prevent the next `up` from creating an empty one.
        rehearsal.kubectl("delete", "persistentvolumes", "--all")
        rehearsal.program.up(stack, "--skip-preview")
        _unprotect(rehearsal, stack)
        ours["removal, with its preview"] = measured(lambda: rehearsal.program.destroy(stack))
    theirs: dict[str, float] = {}
    namespace = f"invoicetron-{stack}"
    with tempfile.TemporaryDirectory() as directory, step(f"{stack}: kubectl apply, diff, delete", usually="20 s"):
        file = str(Path(directory) / "objects.json")
        Path(file).write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))

        def apply() -> None:
            rehearsal.kubectl("apply", "--server-side", "-f", file)
            rehearsal.kubectl("-n", namespace, "rollout", "status", "statefulset/invoicetron-db", "--timeout=120s")

        theirs["from nothing"] = measured(apply).wall
        theirs["no change"] = measured(lambda: rehearsal.kubectl("diff", "--server-side", "-f", file, check=False)).wall
        theirs["removal"] = measured(
            lambda: rehearsal.kubectl("delete", "--wait", "--ignore-not-found", "-f", file)
        ).wall
    start = measured(lambda: rehearsal.program.run("stack", "ls")).wall
    columns = ("what", "pulumi, s", "CPU, s", "control plane's CPU, s", "kubectl, s", "ratio")
    table = Figures(title=f"{stack}: {len(objects)} Kubernetes objects", columns=columns)
    for what, cost in ours.items():
        bare = theirs.get(what)
        row = (f"{cost.wall:.1f}", f"{cost.cpu[cpu.REST]:.1f}", f"{cost.cpu[cpu.CONTROL_PLANE]:.1f}")
        table.add(what, *row, *((f"{bare:.1f}", f"{cost.wall / bare:.1f}") if bare else ("", "")))
    table.add("engine start-up alone, part of each", f"{start:.1f}", "", "", "", "")
    return table


@contextmanager
def _engine_logs(rehearsal: Rehearsal) -> Iterator[None]:
    rehearsal.engine_logs.unlink()
    yield
    shutil.rmtree(rehearsal.engine_logs)
    rehearsal.engine_logs.touch()


def _unprotect(rehearsal: Rehearsal, stack: str) -> None:
    rehearsal.program.run("state", "unprotect", "--all", "--yes", "--stack", stack)


def _objects(rehearsal: Rehearsal, stack: str) -> list[dict[str, Any]]:
    """The stack's Kubernetes objects as in the API server, without its own additions; the namespace comes first."""
    found = []
    for resource in rehearsal.program.export(stack)["deployment"]["resources"]:
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
        live = json.loads(rehearsal.kubectl(*where, "get", kind, metadata["name"], "-o", "json"))
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
