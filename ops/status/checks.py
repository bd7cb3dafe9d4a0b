"""When the pipeline's scheduled checks last passed, from the Leases that `ops record` renews."""

from __future__ import annotations

import datetime as dt
from typing import Final

from components.ages import is_ahead
from ops.terminal import age
from ops.verify.cluster import moment
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from settings.schedules import scheduled_checks

_LEASE: Final = "coordination.k8s.io/v1", "Lease"


def passed(systems: Systems) -> str:
    """Each check passed within the alerts' own limit, or was never recorded: not every stack has such a pipeline."""
    seen, late, wrong = [], False, False
    for check, hours in scheduled_checks(archive=systems.settings.wal is not None).items():
        found = systems.get(*_LEASE, systems.names.check_lease(check))
        if found is None:
            seen.append(f"{check} was never recorded")
            continue
        renewed = moment(found["spec"]["renewTime"])
        if is_ahead(renewed, now=systems.now):
            wrong = True
            seen.append(f"{check} was recorded at {renewed:%Y-%m-%d %H:%M} UTC, in the future")
            continue
        since = systems.now - renewed
        seen.append(f"{check} passed {age(since)} ago")
        late |= since > dt.timedelta(hours=hours)
    if wrong:
        raise CheckError("; ".join(seen), "correct the clock of the job's runner, and run the scheduled job again")
    if late:
        raise CheckError("; ".join(seen), "read the log of the scheduled job; docs/alerts.md says more (DriftTooOld)")
    return "; ".join(seen)
