"""The verification checklist against the live system: runs every check, whatever the others find. Read-only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import httpx
from rich.console import Console
from rich.text import Text

from lookups.http import PluginTransport
from ops.verify import (
    access,
    backups,
    cluster,
    database,
    delivery,
    monitoring,
    offsite,
    public,
    registry,
    secrets,
    tokens,
    wal_archive,
)
from ops.verify.check import Check, Result, examine
from ops.verify.systems import Systems
from settings import Settings

CHECKS: Final[tuple[Check, ...]] = (
    *cluster.CHECKS,
    *database.CHECKS,
    *wal_archive.CHECKS,
    *secrets.CHECKS,
    *access.CHECKS,
    *public.CHECKS,
    *delivery.CHECKS,
    *registry.CHECKS,
    *tokens.CHECKS,
    *backups.CHECKS,
    *offsite.CHECKS,
    *monitoring.CHECKS,
)

_PATIENCE: Final = 15.0  # seconds for an answer from the app or from Cloudflare's edge


def verify(settings: Settings, *, transport: httpx.BaseTransport | None = None) -> list[Result]:
    """The result of each check that applies to the stack.

    `transport` carries requests to the app's own addresses if they do not lead to the app from here.
    """
    with httpx.Client(transport=transport or PluginTransport(), timeout=_PATIENCE, follow_redirects=False) as http:
        systems = Systems(settings, http=http)
        return [examine(one, systems) for check in CHECKS for one in check.each(settings)]


def as_json(stack: str, results: Sequence[Result]) -> str:
    """The report as JSON; its `ok` says whether every check passed."""
    report = {"stack": stack, "ok": all(one.ok for one in results), "checks": [asdict(one) for one in results]}
    return json.dumps(report, indent=2)


def show(results: Sequence[Result], console: Console) -> None:
    """Prints the report for people: one line for each check, however long."""
    width = max(len(one.check) for one in results)
    for one in results:
        mark = Text("ok    ", "green") if one.ok else Text("FAILED", "red")
        fix = f". Fix: {one.fix}" if one.fix else ""
        line = Text.assemble(mark, f" {one.check:<{width}} ", f" {' '.join(f'{one.seen}{fix}'.split())}")
        console.print(line, soft_wrap=True)
    failed = sum(not one.ok for one in results)
    console.print(f"{len(results) - failed} of {len(results)} checks passed", highlight=False)
