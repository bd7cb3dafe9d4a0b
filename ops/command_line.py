"""The user's own `pulumi`, by PATH, run in the program's directory."""

from __future__ import annotations

import subprocess


class PulumiError(Exception):
    """`pulumi` refused something; the message is its output."""


def pulumi(*arguments: str) -> str:
    """Output of `pulumi <arguments>` in the program's directory; raises `PulumiError` with its errors."""
    done = subprocess.run(
        ["pulumi", *arguments, "--non-interactive", "--color", "never"],  # noqa: S607 - the user's own pulumi, by PATH
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PulumiError(f"pulumi {arguments[0]} failed:\n{done.stderr or done.stdout}")
    return done.stdout
