"""The user's own `pulumi`, by PATH, run in the program's directory."""

from __future__ import annotations

import subprocess


class PulumiError(Exception):
    """`pulumi` refused something; the message is its output."""


def pulumi(*arguments: str) -> str:
    """Output of `pulumi <arguments>` in the program's directory; raises `PulumiError` with its errors."""
    command = ["pulumi", *arguments, "--non-interactive", "--color", "never"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise PulumiError("PATH has no pulumi: https://www.pulumi.com/docs/install/") from None
    try:
        output, errors = process.communicate()
    except KeyboardInterrupt:
        # It has heard Ctrl-C itself, and ends with its state in order if it is let.
        process.communicate()
        raise
    if process.returncode:
        raise PulumiError(f"pulumi {arguments[0]} failed:\n{errors or output}")
    return output
