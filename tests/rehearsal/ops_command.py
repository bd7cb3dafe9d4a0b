"""`python -m ops`, as a user runs it in the program's directory."""

from __future__ import annotations

import subprocess
import sys

from rehearsal.rehearsal import REPOSITORY, Rehearsal


def ops(rehearsal: Rehearsal, command: str, stack: str, *, timeout: float) -> str:
    """Returns the command's output; it has to end with status 0, within `timeout` seconds."""
    done = subprocess.run(
        [sys.executable, "-m", "ops", *command.split(), "--stack", stack],
        cwd=rehearsal.program.directory,
        env={**rehearsal.program.environment, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
