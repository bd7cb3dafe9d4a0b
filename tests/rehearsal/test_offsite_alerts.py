"""The alerts on the off-site copies, under `promtool test rules`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from rehearsal import optional_tools
from tests.rehearsal.test_alerts import (
    BACKUP_GOOD,
    DAY,
    DRILL_GOOD,
    HOUR,
    ONCE,
    OURS,
    WELL,
    Case,
    Steps,
    assert_fires,
    failed_job,
    fires,
    rules_of,
)
from tests.unit.program import Program, run
from tests.unit.test_offsite import S3, VALUES

UPLOAD, CHECK = "invoicetron-db-upload", "invoicetron-db-offsite-check"
UPLOAD_OLD, UPLOAD_FAILED = "InvoicetronUploadTooOld", "InvoicetronUploadFailed"
CHECK_OLD, CHECK_FAILED = "InvoicetronOffsiteCheckTooOld", "InvoicetronOffsiteCheckFailed"
OFFSITE_DRILL = "invoicetron-db-offsite-drill"
OFFSITE_DRILL_OLD, OFFSITE_DRILL_FAILED = "InvoicetronOffsiteDrillTooOld", "InvoicetronOffsiteDrillFailed"


def cron_job(part: str, name: str) -> str:
    return f'kube_cronjob_{part}{{{OURS}, cronjob="{name}"}}'


OFFSITE_WELL: Final[Mapping[str, Steps]] = {
    cron_job("created", UPLOAD): [(0, 0)],
    cron_job("status_last_successful_time", UPLOAD): WELL[BACKUP_GOOD],
    cron_job("created", CHECK): [(0, 0)],
    cron_job("status_last_successful_time", CHECK): WELL[DRILL_GOOD],
    cron_job("created", OFFSITE_DRILL): [(0, 0)],
    cron_job("status_last_successful_time", OFFSITE_DRILL): WELL[DRILL_GOOD],
}
OFFSITE_CASES: Final = {
    "all is well for nine days": Case(seen=OFFSITE_WELL, minute=9 * DAY),
    "an upload fails": Case(
        seen={**OFFSITE_WELL, **failed_job(f"{UPLOAD}-29", at=90)}, minute=95, fire=fires(UPLOAD_FAILED)
    ),
    "an upload has succeeded since": Case(
        seen={**OFFSITE_WELL, **failed_job(f"{UPLOAD}-29", at=90)}, minute=DAY + HOUR + 5
    ),
    "no upload succeeds any more": Case(
        seen={**OFFSITE_WELL, cron_job("status_last_successful_time", UPLOAD): ONCE},
        minute=27 * HOUR + 20,
        fire=fires(UPLOAD_OLD),
    ),
    "a check fails": Case(
        seen={**OFFSITE_WELL, **failed_job(f"{CHECK}-29", at=90)}, minute=95, fire=fires(CHECK_FAILED)
    ),
    "no check succeeds any more": Case(
        seen={**OFFSITE_WELL, cron_job("status_last_successful_time", CHECK): ONCE},
        minute=8 * DAY + HOUR + 20,
        fire=fires(CHECK_OLD),
    ),
    "a drill of the copies fails": Case(
        seen={**OFFSITE_WELL, **failed_job(f"{OFFSITE_DRILL}-29", at=90)}, minute=95, fire=fires(OFFSITE_DRILL_FAILED)
    ),
    "no drill of the copies succeeds any more": Case(
        seen={**OFFSITE_WELL, cron_job("status_last_successful_time", OFFSITE_DRILL): ONCE},
        minute=8 * DAY + HOUR + 20,
        fire=fires(OFFSITE_DRILL_OLD),
    ),
}


@pytest.fixture(scope="module")
def promtool() -> Path:
    return optional_tools.promtool()


@pytest.fixture(scope="module")
def offsite() -> Program:
    return run("prod", {"backup.s3": S3}, values=VALUES)


@pytest.mark.parametrize("case", OFFSITE_CASES.values(), ids=list(OFFSITE_CASES))
def test_an_off_site_failure_fires_its_own_alert_and_no_other(
    promtool: Path, offsite: Program, tmp_path: Path, case: Case
) -> None:
    assert_fires(promtool, rules_of(offsite, tmp_path), case)
