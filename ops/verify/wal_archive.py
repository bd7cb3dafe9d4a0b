"""The archive of the write-ahead log: whether it grows, and how far back it reaches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from components import cloudnative_pg, wal_archive
from components.ages import is_ahead
from ops.terminal import age
from ops.verify.check import Check
from ops.verify.cluster import moment
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from settings.schedules import BACKUP_HOURS

_ARCHIVING = "ContinuousArchiving"
"""Condition that the primary sets after each segment, archived or not."""


def archived(systems: Systems) -> str:
    """The last segment is archived, and the last base backup is young enough to start from."""
    names, wal = systems.names, systems.database.wal
    if wal is None:
        raise ValueError("`Check.applies` leaves out a stack without an archive")
    cluster = systems.need(cloudnative_pg.API, cloudnative_pg.KIND, names.database)
    look = (
        f"kubectl -n {names.namespace} logs -l {cloudnative_pg.CLUSTER_LABEL}={names.database} -c plugin-barman-cloud"
    )
    conditions = (cluster.get("status") or {}).get("conditions") or []
    archiving = next((one for one in conditions if one["type"] == _ARCHIVING), None)
    if archiving is None:
        raise CheckError("nothing has been archived yet", f"wait five minutes after the first start; else {look}")
    if archiving["status"] != "True":
        # Only the log shows that barman-cloud refuses another database's archive.
        fix = f"{look}; at 'Expected empty archive' set database.wal.archive to a name that no archive has"
        raise CheckError(f"the write-ahead log is not archived: {archiving['message']}", fix)
    store = systems.need(wal_archive.API, "ObjectStore", names.database)
    return _reach(store, wal_archive.archive(wal, names), systems, look=look)


def _reach(store: Mapping[str, Any], archive: str, systems: Systems, *, look: str) -> str:
    windows = (store.get("status") or {}).get("serverRecoveryWindow") or {}
    window = windows.get(archive) or {}
    first, last = (window.get(key) for key in ("firstRecoverabilityPoint", "lastSuccessfulBackupTime"))
    if first is None or last is None:
        raise CheckError(f"the archive {archive} has no base backup, so nothing can be recovered", look)
    seen = f"{archive} reaches back to {first}"
    if is_ahead(moment(last), now=systems.now):
        raise CheckError(
            f"{seen}; its last good base backup is dated in the future, {last}, and hides the age of later ones",
            "correct the clock of the database's node; after the next base backup, delete this one from the bucket",
        )
    since = systems.now - moment(last)
    if since > dt.timedelta(hours=BACKUP_HOURS):
        raise CheckError(f"{seen}; its last good base backup is {age(since)} old", look)
    return f"{seen}, with a base backup {age(since)} ago"


CHECKS = (Check(name="wal-archive", look=archived, applies=lambda settings: settings.wal is not None),)
