"""Measures an `up` without a change while more and more stacks of the program share a control plane."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rehearsal.bench import cpu
from rehearsal.bench.cpu import measured_process
from rehearsal.bench.figures import Figures
from rehearsal.bench.updates import Cost, measured
from rehearsal.progress import step
from rehearsal.rehearsal import Rehearsal

_STACKS = (1, 5, 20)
_REPEATS = 3


def measure(rehearsal: Rehearsal, *, stacks: Sequence[int] = _STACKS, repeats: int = _REPEATS) -> list[Figures]:
    """Brings up stacks like dev, each with its own names, and measures the first stack after each round.

    The ratio is the CPU time for each resource divided by that with a single stack.
    """
    table = Figures(
        title="One `up` without a change, by how many stacks the control plane holds",
        columns=(
            "stacks",
            "resources of each",
            "seconds",
            "CPU, s",
            "ms of CPU a resource",
            "ratio",
            "engine's peak MiB",
        ),
    )
    made, first = 0, 0.0
    for count in stacks:
        with step(f"bringing up {count - made} more stacks", usually=f"{(count - made) * 8} s"):
            for number in range(made, count):
                _add(rehearsal, f"s{number}")
        made = count
        resources = len(rehearsal.program.export("s0")["deployment"]["resources"])
        with step(f"up without a change, beside {count - 1} other stacks", usually="20 s"):
            cost, peak = min((_up(rehearsal, "s0") for _ in range(repeats)), key=lambda one: _cpu(one[0]))
        each = 1000 * _cpu(cost) / resources
        first = first or each
        row = (f"{cost.wall:.1f}", f"{_cpu(cost):.1f}", f"{each:.0f}", f"{each / first:.2f}", f"{peak:.0f}")
        table.add(f"{count}", f"{resources}", *row)
    return [table]


def _cpu(cost: Cost) -> float:
    """CPU seconds of the command and of everything that serves it: stand-ins, emulators, control plane."""
    return sum(cost.cpu[group] for group in (cpu.REST, cpu.CONTROL_PLANE))


def _add(rehearsal: Rehearsal, stack: str) -> None:
    """Adds a stack like dev under another name, with its own namespace, hostname, environment and item."""
    text = (rehearsal.program.directory / "Pulumi.dev.yaml").read_text(encoding="utf-8")
    text = re.sub(r"^(encryptionsalt|encryptedkey|secretsprovider):.*\n?", "", text, flags=re.MULTILINE)
    for old, new in (
        ("invoicetron-dev", f"invoicetron-{stack}"),
        ("invoicetron.dev.", f"{stack}.dev."),
        ("name: development", f"name: {stack}"),
        ("Invoicetron Dev Deploy Token", f"Invoicetron {stack} Deploy Token"),
    ):
        text = text.replace(old, new)
    (rehearsal.program.directory / f"Pulumi.{stack}.yaml").write_text(text, encoding="utf-8")
    rehearsal.program.init(stack)
    rehearsal.program.up(stack, "--skip-preview")


def _up(rehearsal: Rehearsal, stack: str) -> tuple[Cost, float]:
    """The cost of an `up`, and the engine's peak memory in MiB."""
    program = rehearsal.program
    options = ["--yes", "--skip-preview", "--stack", stack, "--non-interactive"]
    with tempfile.TemporaryDirectory(prefix="scale-") as directory:
        file = Path(directory) / "used"
        command = [*measured_process(file), str(program.pulumi), "up", *options]

        def run() -> None:
            subprocess.run(
                command,
                cwd=program.directory,
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=True,
            )

        cost = measured(run)
        _, _, peak = json.loads(file.read_text())
    return cost, peak
