"""The dynamic provider as a fork of the rehearsal's fork server: equivalent to `python -m pulumi.dynamic`.

Only for programs that run in this interpreter's environment; `dynamic_provider.sh` serves all others, and these too if
there is no fork server.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

from rehearsal.plugins.fork_server import is_serving

_FORKED = is_serving()
if _FORKED:  # imported once, for all forks
    import dill  # type: ignore[import-untyped]  # noqa: F401 - what pulumi.dynamic imports as it runs
    import pulumi.dynamic  # noqa: F401

COMMAND = [
    *(sys.executable, "-I", "-S", str(Path(__file__).with_name("watched.py"))),
    *("/bin/sh", str(Path(__file__).with_name("dynamic_provider.sh"))),
]
"""The provider as a separate process, which ends with its engine."""

_REPOSITORY = str(Path(__file__).parents[2])
_FOREIGN = ("kubernetes", "rehearsal")
"""Packages that the fork server has imported but a separate process would not have: the rehearsal is not on its path,
and Kubernetes' client read the fork server's environment when it was imported."""


def become_pristine() -> None:
    """Removes what only a fork of the server has; later imports come from the process's own directory."""
    sys.path[:] = [str(Path.cwd()), *(entry for entry in sys.path[1:] if entry not in {"", _REPOSITORY})]
    for name in list(sys.modules):
        if name.partition(".")[0] in _FOREIGN:
            del sys.modules[name]
    os.environ.pop("PYTHONPATH", None)


if __name__ == "__main__":
    become_pristine()
    if not _FORKED:
        os.execv(COMMAND[0], [*COMMAND, *sys.argv[1:]])  # noqa: S606 - to be that process
    runpy.run_module("pulumi.dynamic", run_name="__main__", alter_sys=True)
