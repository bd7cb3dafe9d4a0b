"""Lists the backups on the volume or off-site: `python -m ops backups list`."""

from __future__ import annotations

import datetime as dt
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

from rich.filesize import decimal
from rich.table import Column, Table
from rich.text import Text

from ops.backup import check_has_backups, cron_job
from ops.kube.cluster import REQUEST_TIMEOUT, Cluster, ClusterError
from ops.kube.job import Job, JobFailedError, create
from ops.results import drills
from ops.terminal import Terminal, age
from settings import Settings

LATEST: Final = "latest"
"""Name of the newest backup, on the volume or off-site."""

_UNKNOWN: Final = "-"
_SKEW: Final = dt.timedelta(minutes=2)
"""By how much this machine's clock and the cluster's may differ."""
# Names of Jobs: the schedule's, which end with the minute at which they were due, and the pipeline's.
_BY: Final = (
    (re.compile(r"[a-z0-9-]+-db-backup-\d{8}"), "schedule"),
    (re.compile(r"[a-z0-9-]+-db-backup-ci-(\d+)"), r"pipeline, job \1"),
)


class Target(StrEnum):
    """Where backups are."""

    VOLUME = "volume"
    """The backup volume, or the NFS export."""
    S3 = "s3"
    """Off-site, in the bucket of `backup.s3`."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One backup. Fields that an earlier release did not record are None."""

    name: str
    taken: dt.datetime | None = None
    """None if the backup is no longer complete."""
    dump_bytes: int | None = None
    database_bytes: int | None = None
    rows: int | None = None
    image: str | None = None
    migration: str | None = None
    by: str | None = None

    @classmethod
    def of_manifest(cls, manifest: Mapping[str, Any]) -> Self:
        """From a line that list.sh prints."""
        inventory, taken = manifest.get("inventory") or {}, manifest.get("takenAt")
        return cls(
            name=manifest["name"],
            taken=dt.datetime.fromisoformat(taken) if taken else None,
            dump_bytes=manifest.get("dumpBytes"),
            database_bytes=(manifest.get("about") or {}).get("databaseBytes"),
            rows=sum(inventory["rows"].values()) if "rows" in inventory else None,
            image=manifest.get("image") or None,
            migration=inventory.get("lastMigration"),
            by=manifest.get("takenBy") or None,
        )

    @classmethod
    def of_snapshot(cls, snapshot: Mapping[str, Any]) -> Self:
        """From a line that fetch.sh prints: one of restic's snapshots, with the tags that upload.sh sets."""
        tags = {key: value for key, _, value in (tag.partition("=") for tag in snapshot["tags"]) if value}
        return cls(
            name=tags["name"],
            taken=dt.datetime.fromisoformat(snapshot["time"]),
            dump_bytes=_number(tags.get("bytes")),
            database_bytes=_number(tags.get("database")),
            rows=_number(tags.get("rows")),
            image=tags.get("image"),
            migration=tags.get("migration"),
            by=tags.get("by"),
        )


def list_backups(
    cluster: Cluster, terminal: Terminal, settings: Settings, target: Target, *, now: dt.datetime
) -> Table:
    """A table of the backups on `target`, newest first; only a Job in the cluster reaches them.

    Raises `JobFailedError` if the backups cannot be read, and `ClusterError`.
    """
    check_has_backups(settings)
    if target is Target.S3 and settings.s3 is None:
        raise ClusterError(f"--target {target}: stack {settings.stack} has no off-site copies (backup.s3)")
    pods = cluster.core.list_namespaced_pod(cluster.namespace, _request_timeout=REQUEST_TIMEOUT)
    restored = {
        one.backup: one.ended
        for one in reversed(drills(cluster.client.sanitize_for_serialization(pods)["items"]))
        if one.origin == target
    }
    earliest = dt.datetime.min.replace(tzinfo=dt.UTC)
    backups = read_backups(cluster, terminal, target)
    return table(sorted(backups, key=lambda one: (one.taken or earliest, one.name), reverse=True), restored, now=now)


def read_backups(cluster: Cluster, terminal: Terminal, target: Target) -> list[Listed]:
    """The backups on `target`, read by a Job in the cluster; raises like `list_backups`.

    Those on the volume come in the order of list.sh, newest first.
    """
    names = cluster.names
    found: list[Listed] = []
    read = Listed.of_snapshot if target is Target.S3 else Listed.of_manifest

    def hear(line: str) -> None:
        if line.startswith("{"):
            found.append(read(json.loads(line)))
        else:
            terminal.say(line)

    # The drill's pods have no network, and cannot write to the volume.
    template = cron_job(cluster, names.upload if target is Target.S3 else names.drill)
    job = Job(cluster=cluster, name=f"{names.listing}-{secrets.token_hex(4)}", say=hear)
    # Without FETCH, fetch.sh lists.
    create(job, template, script="fetch.sh" if target is Target.S3 else "list.sh")
    try:
        with terminal.step(f"{job.name} lists the backups"):
            job.follow(waiting=terminal.waiting)
    except JobFailedError as error:
        raise JobFailedError(f"The backups could not be listed: {error}") from error
    return found


def table(backups: Iterable[Listed], restored: Mapping[str, dt.datetime], *, now: dt.datetime) -> Table:
    """One row for each backup, in this order; a dash for unknown values. `restored`: when a drill restored which."""
    # People type a name after --from, so it is the last column that a narrow terminal truncates.
    heads = (
        Column("backup", no_wrap=True),
        "age",
        "dump",
        "database",
        "rows",
        "last migration",
        "app image",
        "taken by",
        "drilled",
    )
    made = Table(*heads, box=None, pad_edge=False)
    for one in backups:
        cells = (
            _age(one.taken, now=now) if one.taken else "NOT WHOLE",
            decimal(one.dump_bytes) if one.dump_bytes is not None else None,
            decimal(one.database_bytes) if one.database_bytes is not None else None,
            f"{one.rows:,}" if one.rows is not None else None,
            one.migration,
            _image(one.image),
            _by(one.by),
            _age(restored[one.name], now=now, suffix=" ago") if one.name in restored else None,
        )
        # As Text: rich reads [brackets] in a plain string as markup.
        made.add_row(*(Text(cell or _UNKNOWN) for cell in (one.name, *cells)))
    return made


def _age(time: dt.datetime, *, now: dt.datetime, suffix: str = "") -> str:
    """How long ago that was; a time in the future was recorded by a clock that was ahead, and says nothing."""
    return f"{age(now - time)}{suffix}" if time - now < _SKEW else "in the future"


def _by(name: str | None) -> str | None:
    for pattern, words in _BY:
        if found := pattern.fullmatch(name or ""):
            return found.expand(words)
    return name


def _image(image: str | None) -> str:
    """Name and tag of an image or, if it has no tag, its name and the beginning of its digest."""
    tagged, _, digest = (image or "").rpartition("/")[2].partition("@sha256:")
    return f"{tagged}@{digest[:12]}" if digest and ":" not in tagged else tagged


def _number(text: str | None) -> int | None:
    return int(text) if text else None
