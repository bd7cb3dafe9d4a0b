"""Modules run as at a terminal: what a shell runs in its background, these tests perhaps, it starts deaf to Ctrl-C."""

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
    """The command `python -m <module>`, to which signals mean what they do at a terminal; `before` is run first."""
    return [sys.executable, "-c", _RUN.format(module=module, before=before)]
