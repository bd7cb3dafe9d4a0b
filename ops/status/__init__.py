"""One screen about a stack, in seconds: what runs and since when, the last backups, what expires, which alerts fire.

`ops verify` is the full checklist; both share their checks. Read-only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from time import sleep, strftime
from typing import Any, Final

import httpx
from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from lookups.http import PluginTransport
from ops.status import alerts, checks, workloads
from ops.verify import access, backups, cluster, database, tokens
from ops.verify.check import Check, Result, examine
from ops.verify.systems import Systems
from settings import Settings

_OF_CLUSTER: Final = {"migration", "pipeline-token", "database-certificate"}
"""Checks of several lists that query only the cluster."""

SYSTEMS: Final[tuple[tuple[Check, ...], ...]] = (
    (
        Check(name="app", look=workloads.app_runs),
        Check(name="database", look=workloads.database_runs, applies=lambda settings: settings.database is not None),
        *(check for check in (*cluster.CHECKS, *tokens.CHECKS, *database.CHECKS) if check.name in _OF_CLUSTER),
        *backups.CHECKS,
        Check(name="scheduled-checks", look=checks.passed),
        Check(name="alerts", look=alerts.firing, applies=lambda settings: settings.monitoring is not None),
    ),
    tuple(check for check in access.CHECKS if check.name == "internal-url"),
    tuple(check for check in tokens.CHECKS if check.name not in {"pipeline-token", "cloudflare-token"}),
    tuple(check for check in tokens.CHECKS if check.name == "cloudflare-token"),
)
"""The checks on the screen, by the system that they query: the cluster, the app itself, GitLab, Cloudflare."""

PATIENCE: Final = 4.0
"""Seconds for one answer: a system that is down must not delay the rest of the screen for long."""
INTERVAL: Final = 10.0
"""Seconds between two screens of `--watch`."""


def status(settings: Settings, *, transport: httpx.BaseTransport | None = None) -> list[Result]:
    """Everything on the screen. Queries the systems concurrently; the lines of one that is down say so.

    `transport` carries requests to the app's own address if that address does not lead to the app from here.
    """
    with httpx.Client(transport=transport or PluginTransport(), timeout=PATIENCE, follow_redirects=False) as http:
        systems = Systems(settings, http=http, patience=PATIENCE)

        def look(checks: Iterable[Check]) -> list[Result]:
            return [examine(one, systems) for check in checks for one in check.each(settings)]

        with ThreadPoolExecutor(len(SYSTEMS)) as threads:
            return [result for results in threads.map(look, SYSTEMS) for result in results]


def screen(settings: Settings, results: Iterable[Result], *, at: str) -> Group:
    """The results, one row each; `at` is the time of the checks."""
    # Long text is folded, because a truncated path or command is of no use.
    seen = Column(overflow="fold")
    table = Table(Column(), Column(), seen, box=None, pad_edge=False, show_header=False)
    for one in results:
        mark = Text("ok", "green") if one.ok else Text("LOOK", "bold red")
        fix = Text(f"\n{one.fix}", "dim") if one.fix else Text()
        table.add_row(mark, Text(one.check), Text.assemble(" ".join(one.seen.split()), fix))
    return Group(Text(f"{settings.namespace}, {at}", "bold"), table)


def show(settings: Settings, console: Console) -> None:
    """Runs the checks once, and prints the screen."""
    console.print(_look(settings))


def watch(settings: Settings, console: Console) -> None:
    """Repeats the checks until Ctrl-C. If `console` is no terminal, prints each screen below the last."""
    with suppress(KeyboardInterrupt), ExitStack() as stack:
        display: Callable[[Any], None] = console.print
        if console.is_terminal:
            live = stack.enter_context(Live(console=console, auto_refresh=False, screen=True))
            display = partial(live.update, refresh=True)
        while True:
            display(_look(settings))
            sleep(INTERVAL)


def _look(settings: Settings) -> Group:
    results = status(settings)
    return screen(settings, results, at=strftime("%Y-%m-%d %H:%M:%S %Z"))
