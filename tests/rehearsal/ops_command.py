"""`python -m ops`, as a person runs it in the program's directory."""

from __future__ import annotations

import subprocess
import sys

from rehearsal.world import REPOSITORY, World


def ops(world: World, command: str, stack: str, *, timeout: float) -> str:
    """What the command says; it has to end with status 0, within `timeout` seconds."""
    done = subprocess.run(
        [sys.executable, "-m", "ops", command, "--stack", stack],
        cwd=world.program.directory,
        env={**world.program.environment, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
