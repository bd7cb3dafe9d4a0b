"""The tests' stack files, with schedules whose time does not come while tests run.

Kubernetes makes a Job when a CronJob's time comes, and tests count backups, uploads and Jobs.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

from tests.stacks import STACKS

LATER: Final = f"{dt.datetime.now(dt.UTC) + dt.timedelta(hours=12):%-M %-H} * * *"
"""Every day, twelve hours from now: in UTC, as the stack files set no time zone. The same throughout a process."""
_NIGHTLY: Final = "    schedule: 0 3 * * *\n"


def write_stack_files(directory: Path) -> None:
    """Puts them into `directory`, in the place of those that are there."""
    for file in STACKS.glob("Pulumi.*.yaml"):
        text = file.read_text()
        assert _NIGHTLY in text, f"{file} has another schedule, which this module has to know"
        later = f"    schedule: {LATER}\n    drillSchedule: {LATER}\n"
        (directory / file.name).write_text(text.replace(_NIGHTLY, later))
