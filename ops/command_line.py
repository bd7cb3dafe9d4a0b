"""Runs the user's own `pulumi`, found on PATH, in the program's directory."""

from __future__ import annotations

import subprocess


class PulumiError(Exception):
    """`pulumi` refused something; the message is its output."""


def pulumi(*arguments: str) -> str:
    """The output of `pulumi <arguments>` in the program's directory; raises `PulumiError` with its errors."""
    command = ["pulumi", *arguments, "--non-interactive", "--color", "never"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise PulumiError("PATH has no pulumi: https://www.pulumi.com/docs/install/") from None
    try:
        output, errors = process.communicate()
    except KeyboardInterrupt:
        # `pulumi` has received Ctrl-C, too; given time, it leaves its state in order.
        process.communicate()
        raise
    if process.returncode:
        raise PulumiError(f"pulumi {arguments[0]} failed:\n{errors or output}")
    return output
