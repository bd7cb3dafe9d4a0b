"""`ops drill`: proves beside the live database that the archive of the write-ahead log brings it back."""

from __future__ import annotations

import datetime as dt
from typing import Final

from ops import checks
from ops.kube.cluster import Cluster, ClusterError
from ops.restore.moment import parse, recovered
from ops.terminal import Terminal, age
from settings import Settings
from settings.schedules import DRILL_HOURS, RECOVERY

_DUE: Final = dt.timedelta(hours=DRILL_HOURS - 26)
"""Time after which the next drill is due: it stays weekly although the schedule runs once a day, sometimes late."""


def nothing_to_drill(settings: Settings) -> str | None:
    """Why the stack has nothing to drill; None if it has something."""
    if settings.database is None or settings.wal is None:
        return f"Stack {settings.stack} archives no write-ahead log (database.wal): there is nothing to drill."
    if settings.database.moving_from is not None:
        return f"The database of {settings.stack} is moving to the other engine: the drill waits until that is done."
    if settings.database.upgrade is not None:
        upgrading = f"The database of {settings.stack} is being upgraded (database.upgrade)"
        return f"{upgrading}: the drill waits until that is done."
    return None


def not_due(cluster: Cluster, settings: Settings, now: dt.datetime) -> str | None:
    """Why a scheduled job has nothing to do; None if a drill is due."""
    if why := nothing_to_drill(settings):
        return why
    last = checks.last(cluster.client, cluster.names, RECOVERY)
    # One of a time to come was recorded by a clock that was ahead, and says nothing.
    if last is not None and dt.timedelta() <= now - last < _DUE:
        return f"The last recovery was drilled {age(now - last)} ago, and a drill is weekly: nothing to do."
    return None


def drill(cluster: Cluster, terminal: Terminal, settings: Settings, now: dt.datetime) -> str:
    """Recovers the database of a moment ago into a Cluster beside the live one, dumps and counts it, and records that.

    The live database only has to archive its log. Raises the same errors as `ops restore --to`: `SourceError`,
    `JobFailedError`, `ClusterError`.
    """
    if why := nothing_to_drill(settings):
        raise ClusterError(why)
    moment = parse(settings, to=f"{now - dt.timedelta(seconds=1):%Y-%m-%d %H:%M:%S}Z", archive=None)
    source = recovered(cluster, terminal, moment)
    terminal.say(f"Recovered, counted and dumped: {source}.")
    recorded: str = cluster.persistently(lambda: checks.record(cluster.client, cluster.names, RECOVERY))
    return recorded
