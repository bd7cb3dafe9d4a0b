"""The rehearsal's command line; the Makefile calls it: `python -m rehearsal --help`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from rehearsal import bench as benchmarks
from rehearsal import optional_tools, output
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.engine import EngineError
from rehearsal.engine.plugin_path import PluginsMissingError
from rehearsal.lifecycle import Lifecycle
from rehearsal.processes import ProcessError
from rehearsal.progress import CONSOLE, step
from rehearsal.rehearsal import STACKS, Rehearsal, start_rehearsal
from rehearsal.toolchain import Need, ToolchainError, ensure

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

GREETING = """
This is a copy of the program: its code links to the repository, so your edits take effect; its stack files are copies.
  pulumi up -s dev                          creates everything in dev (or prod)
  kubectl -n invoicetron-dev get all        shows its pods, workloads and Services
  pulumi preview -s dev --diff              previews your changes to this folder's Pulumi.dev.yaml
  pulumi preview -s dev --policy-pack policies
  exit, or Ctrl-D                           ends the rehearsal and removes everything
docs/first-change.md walks you through it.
"""


class Stack(StrEnum):
    """The stacks of the program."""

    DEV = "dev"
    PROD = "prod"


class Engine(StrEnum):
    """The engines that can run the database."""

    STATEFULSET = "statefulset"
    CLOUDNATIVE_PG = "cloudnative-pg"


StackOption = Annotated[Stack, typer.Option(help="Which stack.")]


@contextmanager
def rehearsal(need: Need = Need.EVERYTHING, *, operated: bool = False) -> Iterator[Rehearsal]:
    """A rehearsal in a temporary folder; prints at the start which parts are real.

    `operated`: CloudNativePG's operator runs beside the controllers.
    """
    tools, whole = ensure(need), need is Need.EVERYTHING
    operator = optional_tools.cloudnative_pg() if operated else None
    with tempfile.TemporaryDirectory(prefix="invoicetron-rehearsal-") as directory:
        plane = ControlPlane(tools, Path(directory) / "control-plane", controllers=whole, operator=operator)
        what = "etcd, API server, controller manager, scheduler and kwok" if whole else "etcd and API server"
        with step(f"starting {what} on loopback", usually="8 s" if whole else "5 s"):
            plane.__enter__()
        try:
            with start_rehearsal(tools, plane, Path(directory) / "rehearsal") as one:
                say_what_is_real(one, whole=whole)
                if operated:
                    CONSOLE.print("real: CloudNativePG's operator and webhooks; stand-in: its instances' status")
                yield one
        finally:
            plane.__exit__()


def say_what_is_real(one: Rehearsal, *, whole: bool) -> None:
    """Prints which components are real, so that nobody takes a stand-in for the real thing."""
    controllers = " and its controllers" if whole else ""
    CONSOLE.print(f"real: the Pulumi engine ({one.tools.pulumi}), etcd, kube-apiserver{controllers}, the CRDs")
    if whole:
        CONSOLE.print("real, but not in a container: the scripts of backup, drill and restore, and their PostgreSQL 18")
    nodes = "kwok for nodes and containers; " if whole else ""
    CONSOLE.print(f"stand-ins: {nodes}emulators for 1Password Connect, GitLab, Cloudflare")
    for name, kind in one.kinds.items():
        CONSOLE.print(f"{name}: {kind}")


@app.command()
def setup() -> None:
    """Builds the tools that the user's cache does not have yet."""
    ensure()


@app.command()
def preview(
    stack: StackOption = Stack.DEV,
    as_json: Annotated[bool, typer.Option("--json", help="The engine's JSON on standard output.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Every property of every resource.")] = False,
) -> None:
    """Previews a stack as if it did not exist yet: prints a tree of the changes, and the counts."""
    with rehearsal(Need.PREVIEW) as one:
        one.program.init(stack)
        status = _preview_as_json(one, stack) if as_json else _preview(one, stack, diff=diff)
    raise typer.Exit(status)


def _preview_as_json(one: Rehearsal, stack: str) -> int:
    program = one.program
    command = [str(program.pulumi), "preview", "--stack", stack, "--policy-pack", str(program.policies), "--json"]
    environment = dict(program.environment)
    return subprocess.run(
        [*command, "--non-interactive"], cwd=program.directory, env=environment, stdin=subprocess.DEVNULL, check=False
    ).returncode


def _preview(one: Rehearsal, stack: str, *, diff: bool) -> int:
    try:
        with step(f"previewing {stack}", usually="5 s"):
            seen = one.program.preview(stack, *(["--diff"] if diff else []))
    except EngineError as error:
        print(output.report(str(error)))
        return 1
    if diff:
        print(seen.output)
        return 0
    # A pipe has no width; in fewer than 200 columns, types would be cut off.
    width = None if sys.stdout.isatty() else 200
    Console(width=width, highlight=False).print(output.tree(seen.events))
    print(output.report(seen.output))
    return 0


@app.command()
def rehearse(
    stack: StackOption = Stack.DEV,
    engine: Annotated[Engine, typer.Option(help="Engine that runs the database.")] = Engine.STATEFULSET,
) -> None:
    """Runs a stack through its life on the local control plane; prints a table."""
    began = time.monotonic()
    table = Table("step", "result", "", "seconds", title=f"The life of the stack {stack}")
    failed = False
    operated = engine is Engine.CLOUDNATIVE_PG
    with rehearsal(operated=operated) as one:
        for row in Lifecycle(one, stack, operated=operated).rows():
            CONSOLE.print(f"{'[green]ok[/]' if row.ok else '[red]failed[/]'} {row.step}", end="")
            seen = row.result if row.ok else f"{output.what_matters(row.result)}\nFull output: {_kept(row.result)}"
            CONSOLE.print(f": {seen}", markup=False)
            table.add_row(row.step, seen.splitlines()[0], "ok" if row.ok else "failed", f"{row.seconds:.1f}")
            failed = failed or not row.ok
    table.add_section()
    table.add_row("total, with start-up and end", "", "failed" if failed else "ok", f"{time.monotonic() - began:.1f}")
    CONSOLE.print(table)
    raise typer.Exit(1 if failed else 0)


def _kept(text: str) -> Path:
    """Writes the text to a file that outlives the command."""
    handle, name = tempfile.mkstemp(prefix="invoicetron-rehearsal-", suffix=".log")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    return Path(name)


@app.command()
def shell() -> None:
    """Opens a shell in which `pulumi up -s dev`, `kubectl get all -A`, `python -m ops` work against the rehearsal."""
    with rehearsal() as one:
        for stack in STACKS:
            one.program.init(stack)
        CONSOLE.print(GREETING, markup=False, highlight=False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for what runs in the shell
        # Our own Python first, so that `python -m ops` works too.
        path = os.pathsep.join([str(Path(sys.executable).parent), one.program.environment["PATH"]])
        environment = {**one.program.environment, "PATH": path, "PS1": "(rehearsal) \\$ "}
        shell_ = os.environ.get("SHELL", "/bin/sh")
        options = ["--norc", "--noprofile"] if Path(shell_).name == "bash" else []
        subprocess.run([shell_, *options], cwd=one.program.directory, env=environment, check=False)


@app.command()
def bench(
    what: Annotated[benchmarks.What | None, typer.Option(help="One group of figures, or all of them.")] = None,
) -> None:
    """Every figure of docs/figures.md, measured side by side and written into the page."""
    benchmarks.run(rehearsal, what)


def _terminated(*_: object) -> NoReturn:
    # As with Ctrl-C, everything that was started is stopped on exit.
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app()
    except (ToolchainError, ProcessError, EngineError, PluginsMissingError) as error:
        CONSOLE.print(str(error), style="red", markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        CONSOLE.print("stopped")
        sys.exit(130)
