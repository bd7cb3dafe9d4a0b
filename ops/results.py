"""What the Jobs of backups leave in the status of their pods: what was backed up and with which rights, which backup a
drill restored, and which backup has its off-site copy."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.filesize import decimal

from components.ages import is_ahead


@dataclass(frozen=True, kw_only=True)
class Backup:
    """A backup that is on the volume."""

    name: str
    rows: int
    bytes: int
    """The dump's size."""
    seconds: int

    def __str__(self) -> str:
        return f"{self.name}, {self.rows:,} rows, {decimal(self.bytes)} in {self.seconds} s"


@dataclass(frozen=True, kw_only=True)
class Drill:
    """A backup that a drill has restored completely."""

    backup: str
    origin: str
    """`volume` or `s3`."""
    rows: int
    seconds: int
    ended: dt.datetime

    def __str__(self) -> str:
        return f"{self.backup} from {self.origin}, {self.rows:,} rows in {self.seconds} s"


def newest_backup(pods: Iterable[Mapping[str, Any]]) -> Backup | None:
    """The last backup that a Job of these pods took; None if none reports one, like those of earlier versions."""
    said = next((said for said, _ in _said(pods) if "backup" in said and "rows" in said), None)
    if said is None:
        return None
    return Backup(name=said["backup"], rows=said["rows"], bytes=said["bytes"], seconds=said["seconds"])


def drills(pods: Iterable[Mapping[str, Any]]) -> list[Drill]:
    """The successful drills among these pods (JSON, as the API returns them), the last one first."""
    return [
        Drill(backup=said["drilled"], origin=said["from"], rows=said["rows"], seconds=said["seconds"], ended=ended)
        for said, ended in _said(pods)
        if "drilled" in said
    ]


def newest_copy(pods: Iterable[Mapping[str, Any]]) -> str | None:
    """The newest backup that had its off-site copy at the end of the last good upload; None if no pod reports one."""
    return next((said["newestCopy"] for said, _ in _said(pods) if said.get("newestCopy")), None)


def taken_by_superuser(pods: Iterable[Mapping[str, Any]]) -> bool | None:
    """Whether the role that took the last backup was a superuser; None if no pod reports it."""
    return next((said["superuser"] for said, _ in _said(pods) if "superuser" in said), None)


def backup_taken(pods: Iterable[Mapping[str, Any]]) -> str | None:
    """The last backup that these pods took; None if none reports one."""
    return next((said["backup"] for said, _ in _said(pods) if said.get("backup")), None)


def _said(pods: Iterable[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], dt.datetime]]:
    """The termination message of each container that ended successfully, and when it ended, the last one first.

    Those that ended in the future come last: they have ended before the others, on a node whose clock was ahead.
    """
    now = dt.datetime.now(dt.UTC)
    return sorted(_messages(pods), key=lambda one: (not is_ahead(one[1], now=now), one[1]), reverse=True)


def _messages(pods: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], dt.datetime]]:
    for pod in pods:
        for status in (pod.get("status") or {}).get("containerStatuses") or []:
            ended = (status.get("state") or {}).get("terminated") or {}
            if ended.get("exitCode") == 0 and (ended.get("message") or "").startswith("{"):
                yield json.loads(ended["message"]), dt.datetime.fromisoformat(ended["finishedAt"])
