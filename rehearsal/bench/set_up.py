"""Measures the set-up: from nothing, and each later start of a rehearsal."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rehearsal import toolchain
from rehearsal.bench.figures import Figures
from rehearsal.progress import CONSOLE


def measure(warm: float) -> list[Figures]:
    """Builds everything once more, in a temporary folder; the modules' sources have been downloaded already.

    `warm`: seconds until a rehearsal has started when all tools exist.
    """
    table = Figures(title="Set-up of the rehearsal, Go's build cache empty", columns=("what", "seconds", "share"))
    CONSOLE.print("building everything once more, in a folder of its own (usually 9 min)")
    before = _children()
    with _empty_caches():
        toolchain.ensure()
        took = toolchain.cold_timings()
    used, everything = _children() - before, sum(took.values())
    first = sum(seconds for what, seconds in took.items() if what in toolchain.for_preview())
    rows = {**took, "what a first `make preview` waits for": first, "everything": everything}
    for what, seconds in rows.items():
        table.add(what, f"{seconds:.0f}", f"{100 * seconds / everything:.0f} %")
    table.add("CPU time of everything", f"{used:.0f}", f"{100 * used / everything:.0f} %")
    table.add("start of a rehearsal once it is there", f"{warm:.1f}", f"{100 * warm / everything:.1f} %")
    return [table]


@contextmanager
def _empty_caches() -> Iterator[None]:
    names = ("XDG_CACHE_HOME", "GOCACHE")
    before = {name: os.environ.get(name) for name in names}
    with tempfile.TemporaryDirectory(prefix="set-up-") as directory:
        os.environ.update({name: str(Path(directory) / name.lower()) for name in names})
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
