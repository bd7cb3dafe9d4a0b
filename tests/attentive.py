"""Runs modules as at a terminal: a shell makes its background jobs, perhaps these tests, ignore Ctrl-C."""

from __future__ import annotations

import sys

_RUN = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
{before}
runpy.run_module({module!r}, run_name="__main__", alter_sys=True)
"""


def attentive(module: str, before: str = "") -> list[str]:
    """The command `python -m <module>`, with the signal handling of a terminal; `before` is code to run first."""
    return [sys.executable, "-c", _RUN.format(module=module, before=before)]
