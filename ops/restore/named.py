"""Which backup `ops restore --from latest` or `--from <time>` means; the user sees its name before any question."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ops import offsite
from ops.backups import LATEST, Listed, Target, read_backups
from ops.kube.cluster import Cluster
from ops.restore import RestoreRequest
from ops.restore.source import Source, SourceError, shown
from ops.terminal import Terminal, age
from settings.names import Names

_NEAREST: Final = 3  # backups that the error message names
_BEGUN: Final = "%Y%m%dT%H%M%SZ"
"""The end of a backup's name."""


def named(cluster: Cluster, terminal: Terminal, request: RestoreRequest, *, now: dt.datetime) -> RestoreRequest:
    """The request with the backup's name, which is found while the app still runs; prints how old that backup is.

    Raises `SourceError` if there is no such backup, `JobFailedError` and `ClusterError`.
    """
    source = request.source
    if source.at is not None:
        target = Target.S3 if source.offsite else Target.VOLUME
        found, taken = newest_at(read_backups(cluster, terminal, target), source.at, names=cluster.names, target=target)
        terminal.say(f"{found} is the newest backup of {shown(source.at)} or before: it was taken at {shown(taken)}.")
    elif source.backup == LATEST:
        found = offsite.newest(cluster, terminal) if source.offsite else newest(cluster, terminal)
        begun = dt.datetime.strptime(found.rpartition("-")[2], _BEGUN).replace(tzinfo=dt.UTC)
        where = "copy off-site" if source.offsite else "backup on the volume"
        terminal.say(f"{found} is the newest {where}; it is {age(now - begun)} old.")
    else:
        return request
    return replace(request, source=Source(backup=found, offsite=source.offsite))


def newest(cluster: Cluster, terminal: Terminal) -> str:
    """Name of the newest backup on the volume, which restore.sh calls `latest`; raises like `named`."""
    complete = [one.name for one in read_backups(cluster, terminal, Target.VOLUME) if one.taken]
    if own := [name for name in complete if name.startswith(f"{cluster.names.database_role}-")]:
        return own[0]
    raise SourceError(f"--from {LATEST}: there is no backup on the volume")


def newest_at(backups: Iterable[Listed], at: dt.datetime, *, names: Names, target: Target) -> tuple[str, dt.datetime]:
    """Name and time of the newest backup taken at `at` or before; dumps from before a restore, whose data was replaced,
    do not count.

    The time is the end of the backup, so that nothing in it was written after `at`.
    """
    taken = sorted(
        (one.taken, one.name) for one in backups if one.taken and one.name.startswith(f"{names.database_role}-")
    )
    if before := [one for one in taken if one[0] <= at]:
        time, name = before[-1]
        return name, time
    where = "off-site" if target is Target.S3 else "on the volume"
    nearest = "".join(f"\n    {name}, taken at {shown(time)}" for time, name in taken[:_NEAREST])
    raise SourceError(
        f"--from: no backup {where} was taken at {shown(at)} or before"
        + (f"; the nearest of {len(taken)}:{nearest}" if taken else f"; there is none {where} at all")
    )
