"""`ops restore --from <time>`: the name of the newest backup that was taken at that time or before."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ops.backups import Listed, Target, read_backups
from ops.kube.cluster import Cluster
from ops.restore import RestoreRequest
from ops.restore.source import Source, SourceError, shown
from ops.terminal import Terminal
from settings.names import Names

_NEAREST: Final = 3  # backups that the error message names


def named(cluster: Cluster, terminal: Terminal, request: RestoreRequest) -> RestoreRequest:
    """The request with the backup's name, which is found before the user is asked and while the app still runs.

    Raises `SourceError` if no backup is old enough, `JobFailedError` and `ClusterError`.
    """
    source = request.source
    if source.at is None:
        return request
    target = Target.S3 if source.offsite else Target.VOLUME
    found, taken = newest_at(read_backups(cluster, terminal, target), source.at, names=cluster.names, target=target)
    terminal.say(f"{found} is the newest backup of {shown(source.at)} or before: it was taken at {shown(taken)}.")
    return replace(request, source=Source(backup=found, offsite=source.offsite))


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
