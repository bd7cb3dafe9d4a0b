"""What the program itself costs, from process start to the last registered resource, beside `import pulumi`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.table import Table

from rehearsal.engine.run_program import TIMINGS
from rehearsal.progress import CONSOLE, step
from rehearsal.rehearsal import REPOSITORY, STACKS, Rehearsal

_REPEATS = 5
_COST = (
    "; import time; used = time.process_time(); from rehearsal.engine.run_program import peak_kib; import json; "
    "print(json.dumps([used, peak_kib()]))"
)


_IMPORTS = {
    "import pulumi": "import pulumi",
    "all of pulumi_cloudflare": "import pulumi, pulumi_cloudflare",
    "all of pulumi_gitlab": "import pulumi, pulumi_gitlab",
    "what prod uses of pulumi_cloudflare": "from sdks import cloudflare as one; one.Provider, one.DnsRecord, "
    "one.ZeroTrustAccessApplication",
    "GitLab's provider": "from sdks import gitlab; gitlab.Provider",
    "httpx": "import pulumi, httpx",
    "Cloudflare's client": "import pulumi, httpx, cloudflare; cloudflare.Cloudflare(api_token='x').zero_trust",
    "Kubernetes' client": "import pulumi; from kubernetes.client import CoreV1Api; from kubernetes import config",
}


def print_tables(rehearsal: Rehearsal) -> None:
    """In a preview by the real engine. The ratio is of CPU time: most of the wall time waits for engine and plugins."""
    imports = Table("imported", "CPU seconds", "peak MiB", title="What imports cost")
    for what, statement in _IMPORTS.items():
        cost = _median([_import(statement) for _ in range(_REPEATS)])
        imports.add_row(what, f"{cost.cpu:.2f}", f"{cost.peak_kib / 1024:.0f}")
    CONSOLE.print(imports)
    bare = _median([_import(_IMPORTS["import pulumi"]) for _ in range(_REPEATS)])
    title = "Python, from process start to the last registered resource"
    table = Table("process", "CPU seconds", "ratio", "wall seconds", "peak MiB", title=title)
    table.add_row("import pulumi", f"{bare.cpu:.2f}", "1.0", f"{bare.wall:.2f}", f"{bare.peak_kib / 1024:.0f}")
    for stack in STACKS:
        with step(f"previewing {stack} {_REPEATS} times", usually="15 s"):
            used = _median([_program_start(rehearsal, stack) for _ in range(_REPEATS)])
        ratio, peak = f"{used.cpu / bare.cpu:.1f}", f"{used.peak_kib / 1024:.0f}"
        table.add_row(f"the program, {stack}", f"{used.cpu:.2f}", ratio, f"{used.wall:.2f}", peak)
    CONSOLE.print(table)


@dataclass(frozen=True, kw_only=True)
class _Used:
    cpu: float
    wall: float
    peak_kib: float


def _median(runs: list[_Used]) -> _Used:
    return _Used(
        cpu=median(one.cpu for one in runs),
        wall=median(one.wall for one in runs),
        peak_kib=median(one.peak_kib for one in runs),
    )


def _import(statement: str) -> _Used:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", statement + _COST], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    wall = time.monotonic() - started
    cpu, peak = json.loads(done.stdout)
    return _Used(cpu=cpu, wall=wall, peak_kib=peak)


def _program_start(rehearsal: Rehearsal, stack: str) -> _Used:
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "timings.json"
        rehearsal.program.with_environment({TIMINGS: str(file)}).preview(stack)
        timing = json.loads(file.read_text())
    return _Used(cpu=timing["cpu_seconds"], wall=timing["seconds"], peak_kib=timing["peak_kib"])
