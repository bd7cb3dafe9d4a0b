"""The rehearsal's command line; the Makefile calls it: `python -m rehearsal --help`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.table import Table

from rehearsal import bench as benchmarks
from rehearsal.controlplane import ControlPlane
from rehearsal.engine import EngineError
from rehearsal.life import Life
from rehearsal.plugin_path import PluginsMissingError
from rehearsal.processes import ProcessError
from rehearsal.progress import CONSOLE, step
from rehearsal.toolchain import ToolchainError, ensure
from rehearsal.world import STACKS, World, world

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

GREETING = """
This is a copy of the program: its code is the repository's own, so edits of it count; its stack files are copies.
  pulumi up -s dev                          makes everything of dev (or prod)
  kubectl -n invoicetron-dev get all        shows it
  pulumi preview -s dev --diff              what a changed Pulumi.dev.yaml, the one in this folder, would do
  pulumi preview -s dev --policy-pack policies
  exit, or Ctrl-D                           ends the rehearsal and removes everything
docs/first-change.md is a walk through it.
"""


class Stack(StrEnum):
    """The stacks of the program."""

    DEV = "dev"
    PROD = "prod"


StackOption = Annotated[Stack, typer.Option(help="Which stack.")]


@contextmanager
def rehearsal() -> Iterator[World]:
    """A rehearsal in a temporary folder, with what is real in it said at the start."""
    tools = ensure()
    with tempfile.TemporaryDirectory(prefix="invoicetron-rehearsal-") as directory:
        plane = ControlPlane(tools, Path(directory) / "control-plane")
        with step("starting etcd, API server, controller manager, scheduler and kwok on loopback", usually="8 s"):
            plane.__enter__()
        try:
            with world(tools, plane, Path(directory) / "world") as one:
                say_what_is_real(one)
                yield one
        finally:
            plane.__exit__()


def say_what_is_real(one: World) -> None:
    """The kinds of everything that takes part, so that nobody takes a stand-in for the real thing."""
    CONSOLE.print(f"real: the Pulumi engine ({one.tools.pulumi}), etcd, kube-apiserver and its controllers, the CRDs")
    CONSOLE.print("real, though in no container: the scripts of backup, drill and restore, and their PostgreSQL 18")
    CONSOLE.print("stands in: kwok for nodes and containers; emulators for 1Password Connect, GitLab, Cloudflare")
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
) -> None:
    """`pulumi preview` of a stack as it would be made from nothing."""
    with rehearsal() as one:
        one.program.init(stack)
        command = [str(one.tools.pulumi), "preview", "--stack", stack, "--policy-pack", str(one.program.policies)]
        command += ["--json", "--non-interactive"] if as_json else ["--diff"] if not sys.stdout.isatty() else []
        done = subprocess.run(
            command, cwd=one.program.directory, env=dict(one.program.environment), stdin=subprocess.DEVNULL, check=False
        )
    raise typer.Exit(done.returncode)


@app.command()
def rehearse(stack: StackOption = Stack.DEV) -> None:
    """The life of a stack on the local control plane, as a table."""
    table = Table("step", "what was seen", "", "seconds", title=f"The life of the stack {stack}")
    failed = False
    with rehearsal() as one:
        for row in Life(one, stack).rows():
            CONSOLE.print(f"{'[green]ok[/]' if row.ok else '[red]failed[/]'} {row.step}: {row.result}", markup=row.ok)
            table.add_row(row.step, row.result.splitlines()[0], "ok" if row.ok else "failed", f"{row.seconds:.1f}")
            failed = failed or not row.ok
    CONSOLE.print(table)
    raise typer.Exit(1 if failed else 0)


@app.command()
def shell() -> None:
    """A shell in which `pulumi up -s dev`, `kubectl get all -A`, `python -m ops` work against the rehearsal."""
    with rehearsal() as one:
        for stack in STACKS:
            one.program.init(stack)
        CONSOLE.print(GREETING, markup=False, highlight=False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for what runs in the shell
        # Our own Python first, so that `python -m ops` works too.
        path = os.pathsep.join([str(Path(sys.executable).parent), one.program.environment["PATH"]])
        environment = {**one.program.environment, "PATH": path, "PS1": "(rehearsal) \\$ ", "PULUMI_STACK": ""}
        environment.pop("PULUMI_STACK")
        shell_ = os.environ.get("SHELL", "/bin/sh")
        options = ["--norc", "--noprofile"] if Path(shell_).name == "bash" else []
        subprocess.run([shell_, *options], cwd=one.program.directory, env=environment, check=False)


@app.command()
def bench(
    what: Annotated[benchmarks.What | None, typer.Option(help="One group of figures, or all of them.")] = None,
) -> None:
    """Every figure of docs/figures.md, as ratios measured side by side."""
    benchmarks.run(rehearsal, what)


def _terminated(*_: object) -> NoReturn:
    # As with Ctrl-C: everything that was started is stopped on the way out.
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
