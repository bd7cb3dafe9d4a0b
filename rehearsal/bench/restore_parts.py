"""Measures dispensable parts of a restore: restore.sh as it is, beside copies that each leave one part out."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from rehearsal.bench.backup import FILL, SCRIPTS, SIZES, Bench
from rehearsal.bench.figures import Figures
from rehearsal.pods.postgres import PostgresServer
from rehearsal.progress import step

_SIDE_BY_SIDE: Final = """fill &
restoring=$!
has_checksum "$dump" "$checksum" &
checking=$!
save "$old" &
saving=$!
restored=yes checked=yes saved=yes
wait "$restoring" || restored=no
wait "$checking" || checked=no
wait "$saving" || saved=no
"""
_ONE_BY_ONE: Final = """restored=yes checked=yes saved=yes
fill || restored=no
has_checksum "$dump" "$checksum" || checked=no
save "$old" || saved=no
"""
_COUNTING: Final = """  generator=$(sed '/^\\\\gexec$/d' "$scripts/inventory.sql")
  PGDATABASE="$incoming" sql --set=generator="$generator" --file="$scripts/counting.sql" || return
"""

PARTS: Final[Mapping[str, Sequence[tuple[str, str, str]]]] = {
    "the counts inside the transaction (an own pass instead)": (
        ("incoming.sh", _COUNTING, ""),
        ("incoming.sh", "$scripts/counted.sql", "$scripts/inventory.sql"),
    ),
    "the 64 MiB set aside": (("restore.sh", "reserve || fail", "true || fail"),),
    "restore, checksum and dump of the old data side by side": (("restore.sh", _SIDE_BY_SIDE, _ONE_BY_ONE),),
}
"""Part to leave out, to the edits that do so: script, text, and its replacement."""


def leave_out(part: str, scripts: Path) -> None:
    """Changes copies of the scripts. Raises `ValueError` if they no longer contain the part."""
    for name, text, instead in PARTS[part]:
        file = scripts / name
        whole = file.read_text(encoding="utf-8")
        if whole.count(text) != 1:
            raise ValueError(f"{name} does not hold this once, so there is nothing to measure: {text}")
        file.write_text(whole.replace(text, instead), encoding="utf-8")


def figures(sizes: Sequence[tuple[int, int]] = SIZES) -> list[Figures]:
    """Each part, at each size: a restore of a database over one of the same size."""
    columns = ("MB", "without", "seconds", "as it is, s", "ratio")
    table = Figures(title="A restore without some of its parts", columns=columns)
    for megabytes, rounds in sizes:
        with step(f"restoring a generated database of {megabytes} MB in four ways", usually="1 to 9 min"):
            seconds = _measure(megabytes, rounds)
        usual = seconds.pop("")
        for part, took in seconds.items():
            table.add(f"{megabytes}", part, f"{took:.1f}", f"{usual:.1f}", f"{took / usual:.2f}")
    return [table]


def _measure(megabytes: int, rounds: int) -> dict[str, float]:
    """Seconds of the fastest round, by the part left out; the empty string means none."""
    with PostgresServer(settings={"fsync": "on"}) as server:
        server.sql(FILL.format(rows=megabytes * 1024))
        bench = Bench(server)
        bench.script("backup.sh")
        times: dict[str, list[float]] = {part: [] for part in ("", *PARTS)}
        for _ in range(rounds):
            for part, seconds in times.items():
                shutil.copytree(SCRIPTS, bench.scripts, dirs_exist_ok=True)
                if part:
                    leave_out(part, bench.scripts)
                started = time.perf_counter()
                bench.script("restore.sh", RESTORE_FROM="latest")
                seconds.append(time.perf_counter() - started)
        return {part: min(seconds) for part, seconds in times.items()}
