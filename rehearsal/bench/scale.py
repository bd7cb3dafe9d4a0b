"""What an `up` without a change costs where more and more stacks of the program share a control plane."""

from __future__ import annotations

import os
import re
import subprocess
import time
from dataclasses import dataclass

from rich.table import Table

from rehearsal.progress import CONSOLE, step
from rehearsal.rehearsal import Rehearsal

_STACKS = (1, 5, 20)


def print_tables(rehearsal: Rehearsal) -> None:
    """Brings up stacks like dev, each with names of its own, and times the first one after each round."""
    title = "One `up` without a change, by how many stacks the control plane holds"
    table = Table(
        "stacks", "resources of each", "seconds", "CPU seconds", "ms of CPU a resource", "peak MiB", title=title
    )
    made = 0
    for count in _STACKS:
        with step(f"bringing up {count - made} more stacks", usually=f"{(count - made) * 8} s"):
            for number in range(made, count):
                _add(rehearsal, f"s{number}")
        made = count
        cost = min((_up(rehearsal, "s0") for _ in range(3)), key=lambda one: one.cpu)
        row = (f"{cost.wall:.1f}", f"{cost.cpu:.1f}", f"{1000 * cost.cpu / cost.resources:.0f}", f"{cost.peak_mib:.0f}")
        table.add_row(f"{count}", f"{cost.resources}", *row)
    CONSOLE.print(table)


@dataclass(frozen=True, kw_only=True)
class _Cost:
    wall: float
    cpu: float
    """Of the command and of what it started and waited for."""
    peak_mib: float
    """Of the largest of these processes."""
    resources: int


def _add(rehearsal: Rehearsal, stack: str) -> None:
    """A stack like dev under another name: namespace, hostname, environment and item are its own."""
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


def _up(rehearsal: Rehearsal, stack: str) -> _Cost:
    resources = len(rehearsal.program.export(stack)["deployment"]["resources"])
    command = [str(rehearsal.program.pulumi), "up", "--yes", "--skip-preview", "--stack", stack, "--non-interactive"]
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=rehearsal.program.directory,
        env=dict(rehearsal.program.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return _Cost(
        wall=time.monotonic() - started,
        cpu=usage.ru_utime + usage.ru_stime,
        peak_mib=usage.ru_maxrss / 1024,
        resources=resources,
    )
