"""What `ops verify` says about the archive of the write-ahead log, from the status of operator and plugin."""

from __future__ import annotations

import datetime as dt
from typing import Any

import httpx
import pytest

from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from ops.verify.wal_archive import archived
from settings.database import DatabaseSettings
from tests.unit.program import load_settings
from tests.unit.test_wal_archive import WAL

SETTINGS = load_settings("prod").model_copy(
    update={"database": DatabaseSettings.model_validate({"engine": "cloudnative-pg", "wal": WAL})}
)
FIRST = "2026-01-01T01:00:00Z"


class Cluster(Systems):
    """A Cluster with this condition, and a store with this recovery window for the stack's archive."""

    def __init__(self, condition: dict[str, str] | None, window: dict[str, str] | None) -> None:
        super().__init__(SETTINGS, http=httpx.Client())
        status = {"conditions": [{"type": "ContinuousArchiving", **condition}] if condition else []}
        self._objects: dict[str, Any] = {
            "Cluster": {"status": status},
            "ObjectStore": {"status": {"serverRecoveryWindow": {"invoicetron-db": window}}} if window else {},
        }

    def get(self, _api_version: str, kind: str, *_: Any) -> Any:
        return self._objects.get(kind)


WELL = {"status": "True", "message": "Continuous archiving is working"}


def window(*, hours: int) -> dict[str, str]:
    last = dt.datetime.now(dt.UTC) - dt.timedelta(hours=hours)
    return {"firstRecoverabilityPoint": FIRST, "lastSuccessfulBackupTime": last.strftime("%Y-%m-%dT%H:%M:%SZ")}


def test_an_archive_that_grows_says_how_far_back_it_reaches() -> None:
    assert archived(Cluster(WELL, window(hours=3))) == (
        f"invoicetron-db reaches back to {FIRST}, with a base backup 3 h ago"
    )


@pytest.mark.parametrize(
    ("condition", "since", "seen", "fix"),
    [
        (None, None, "nothing has been archived yet", "wait five minutes"),
        (
            {"status": "False", "message": "no route to host"},
            3,
            "is not archived: no route to host",
            "set database.wal.archive",
        ),
        (WELL, None, "has no base backup, so nothing can be recovered", "kubectl"),
        (WELL, 27, "its last good base backup is 27 h old", "kubectl"),
        (WELL, -300, "its last good base backup is dated in the future", "clock"),
    ],
)
def test_an_archive_that_does_not_grow_fails_with_a_remedy(
    condition: dict[str, str] | None, since: int | None, seen: str, fix: str
) -> None:
    with pytest.raises(CheckError) as error:
        archived(Cluster(condition, window(hours=since) if since else None))
    assert seen in error.value.seen
    assert fix in str(error.value.fix)
