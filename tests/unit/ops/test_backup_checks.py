"""The CronJobs' last good runs: how old one may be, what it is shown with, and failures since."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from ops.verify import backups
from ops.verify.trouble import CheckError
from tests.stacks import PROD
from tests.unit.ops.test_checks import Cluster


def after(**time: float) -> Cluster:
    """A cluster whose CronJobs last succeeded at this time from now."""
    last = (dt.datetime.now(dt.UTC) + dt.timedelta(**time)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Cluster(CronJob={"spec": {}, "status": {"lastSuccessfulTime": last}})


@pytest.mark.parametrize("which", [one.name for one in backups.CHECKS])
def test_a_last_good_run_of_a_time_to_come_does_not_count(which: str) -> None:
    (check,) = [one for one in backups.CHECKS if one.name == which]
    with pytest.raises(CheckError, match="ended in the future, at ") as told:
        check.look(after(days=300))
    # The controller replaces neither this time nor that of the next run before they have come.
    assert "kubectl -n invoicetron-prod delete cronjob invoicetron-db-" in told.value.fix
    assert "pulumi up" in told.value.fix
    assert "ended 0 hours ago" in check.look(after(minutes=5)), "two clocks may differ"


@pytest.mark.parametrize(
    ("which", "well", "late"),
    [
        ("backup", 25, 27),
        ("drill", 27, 200),
        ("upload", 25, 27),
        ("offsite-check", 27, 200),
        ("offsite-drill", 27, 200),
    ],
)
def test_a_last_good_run_that_is_too_old_fails(which: str, well: int, late: int) -> None:
    (check,) = [one for one in backups.CHECKS if one.name == which]
    assert check.look(after(hours=-well)).endswith(f"ended {well} hours ago")
    with pytest.raises(CheckError, match=f"ended {late} hours ago "):
        check.look(after(hours=-late))


@pytest.mark.parametrize(
    ("which", "result"),
    [
        ("backup", ": taken, 7 rows, 9 bytes in 3 s"),
        ("drill", ": drilled from volume, 7 rows in 3 s"),
        ("upload", ": copied has its copy"),
        ("offsite-check", "ago"),
        ("offsite-drill", ": drilled from s3, 7 rows in 3 s"),
    ],
)
def test_a_good_run_is_shown_with_its_own_result(which: str, result: str) -> None:
    (check,) = [one for one in backups.CHECKS if one.name == which]
    said: list[dict[str, Any]] = [
        {"backup": "taken", "rows": 7, "bytes": 9, "seconds": 3},
        {"newestCopy": "copied"},
        *({"drilled": "drilled", "from": origin, "rows": 7, "seconds": 3} for origin in ("volume", "s3")),
    ]
    systems, ended = after(hours=-1), "2026-01-01T00:00:00Z"
    systems._objects["Pod"] = [
        {
            "status": {
                "containerStatuses": [{"state": {"terminated": {"exitCode": 0, "message": text, "finishedAt": ended}}}]
            }
        }
        for text in map(json.dumps, said)
    ]
    assert check.look(systems).endswith(result)


def job(
    *, owner: str = PROD.backup, type_: str = "Failed", status: str = "True", hours: int = 0, controller: bool = True
) -> dict[str, Any]:
    """A Job of the CronJob `owner` with this condition, for so many hours."""
    since = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {"type": type_, "status": status, "reason": "DeadlineExceeded", "lastTransitionTime": since}
    owners = [{"kind": "ReplicaSet", "name": "x"}, {"kind": "CronJob", "name": owner, "controller": controller}]
    return {
        "metadata": {"name": "of-today", "ownerReferences": owners},
        "status": {"conditions": [{"type": "Suspended", "status": "False"}, condition]},
    }


def backup(*jobs: dict[str, Any]) -> str:
    """What the check of backups says if the last good one was an hour ago, and the namespace has these Jobs."""
    systems = after(hours=-1)
    systems._objects["Job"] = [{"metadata": {"name": "begun"}, "status": {}}, *jobs]
    (check,) = [one for one in backups.CHECKS if one.name == "backup"]
    return check.look(systems)


def test_a_failure_since_the_last_good_run_fails() -> None:
    with pytest.raises(CheckError, match="1 hours ago, and of-today has failed since: DeadlineExceeded") as told:
        backup(job())
    assert "logs job/of-today" in told.value.fix


@pytest.mark.parametrize(
    "other", [job(hours=2), job(owner=PROD.drill), job(controller=False), job(type_="Complete"), job(status="False")]
)
def test_other_jobs_than_failures_of_the_cron_job_since_then_pass(other: dict[str, Any]) -> None:
    assert "1 hours ago" in backup(other)
