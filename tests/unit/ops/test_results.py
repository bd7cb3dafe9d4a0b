"""What the Jobs of backups leave behind, if the clock of a node is ahead for a while."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from ops.results import backup_taken, drills, newest_backup, newest_copy, taken_by_superuser


def pod(number: int, *, superuser: bool = False, **after: float) -> dict[str, Any]:
    """The pod of a run that ended at this time from now, and reports everything that any run reports."""
    said = {
        "backup": f"invoicetron-{number:06}",
        "newestCopy": f"invoicetron-{number:06}",
        "drilled": f"invoicetron-{number:06}",
        "from": "volume",
        "rows": number,
        "bytes": 1,
        "seconds": 1,
        "superuser": superuser,
    }
    ended = (dt.datetime.now(dt.UTC) + dt.timedelta(**after)).strftime("%Y-%m-%dT%H:%M:%SZ")
    terminated = {"exitCode": 0, "message": json.dumps(said), "finishedAt": ended}
    return {"status": {"containerStatuses": [{"state": {"terminated": terminated}}]}}


def test_what_ended_at_a_time_to_come_does_not_hide_what_ended_since() -> None:
    pods = [pod(7, superuser=True, days=300), pod(8, days=-2), pod(9, days=-1)]
    for found in (pods, pods[::-1]):
        assert str(newest_backup(found)).startswith("invoicetron-000009")
        assert newest_copy(found) == backup_taken(found) == "invoicetron-000009"
        assert taken_by_superuser(found) is False
        assert [one.backup[-1] for one in drills(found)] == ["9", "8", "7"]


def test_if_nothing_else_ended_it_counts() -> None:
    assert backup_taken([pod(6, days=200), pod(7, days=300)]) == "invoicetron-000007"
