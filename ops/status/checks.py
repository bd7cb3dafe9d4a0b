"""When the pipeline's scheduled checks last passed, from the Leases that `ops record` renews."""

from __future__ import annotations

import datetime as dt
from typing import Final

from ops.terminal import age
from ops.verify.cluster import moment
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from settings.schedules import scheduled_checks

_LEASE: Final = "coordination.k8s.io/v1", "Lease"


def passed(systems: Systems) -> str:
    """Each check passed within the alerts' own limit, or was never recorded: not every stack has such a pipeline."""
    seen, late = [], False
    for check, hours in scheduled_checks(archive=systems.settings.wal is not None).items():
        found = systems.get(*_LEASE, systems.names.check_lease(check))
        if found is None:
            seen.append(f"{check} was never recorded")
            continue
        since = systems.now - moment(found["spec"]["renewTime"])
        seen.append(f"{check} passed {age(since)} ago")
        late |= since > dt.timedelta(hours=hours)
    if late:
        raise CheckError("; ".join(seen), "read the log of the scheduled job; docs/alerts.md says more (DriftTooOld)")
    return "; ".join(seen)
