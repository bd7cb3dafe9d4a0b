"""The last good backup, what is off-site, and the last drills: what they restored, and from where."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from components.ages import is_ahead
from ops.results import drills, newest_backup, newest_copy
from ops.verify.check import Check
from ops.verify.cluster import moment
from ops.verify.systems import Object, Systems
from ops.verify.trouble import CheckError
from settings import Settings
from settings.commands import ops_command
from settings.names import Names
from settings.schedules import BACKUP_HOURS, DRILL_HOURS

_RUN: Final = "kubectl -n {namespace} create job {cron_job}-now --from=cronjob/{cron_job}"


def recent(systems: Systems, *, which: Callable[[Names], str], hours: int) -> str:
    """The CronJob is not suspended, and its last run was good and recent, by the alerts' own limits."""
    cron_job = which(systems.names)
    found = systems.need("batch/v1", "CronJob", cron_job)
    namespace = systems.names.namespace
    now = _RUN.format(namespace=namespace, cron_job=cron_job)
    if cron_job == systems.names.backup:
        now = ops_command("backup", systems.settings.stack)
    if found["spec"].get("suspend"):
        raise CheckError(f"{cron_job} is suspended", systems.up)
    last = (found.get("status") or {}).get("lastSuccessfulTime")
    if last is None:
        raise CheckError(f"{cron_job} has never succeeded", f"run it now: {now}")
    if is_ahead(moment(last), now=systems.now):
        # Until that time the controller records no other, nor does it start a run before one of the future that it has
        # started (pkg/controller/cronjob).
        raise CheckError(
            f"the last good run of {cron_job} ended in the future, at {last}: the cluster's clock was ahead",
            f"once the clock is right, kubectl -n {namespace} delete cronjob {cron_job}; {systems.up}; then {now}",
        )
    age = max(0, (systems.now - moment(last)).total_seconds() / 3600)
    seen = f"the last good run of {cron_job} ended {age:.0f} hours ago"
    if age > hours:
        raise CheckError(f"{seen} (most: {hours})", f"kubectl -n {namespace} get jobs; run it now: {now}")
    for job in systems.list("batch/v1", "Job"):
        failure = _failure(job, cron_job)
        if failure is not None and moment(failure["lastTransitionTime"]) > moment(last):
            name = job["metadata"]["name"]
            fix = f"kubectl -n {namespace} logs job/{name}, then run it again: {now}"
            raise CheckError(f"{seen}, and {name} has failed since: {failure['reason']}", fix)
    result = _result(systems, cron_job)
    return f"{seen}: {result}" if result else seen


def _result(systems: Systems, cron_job: str) -> str | None:
    """The result of the last good run, if its pod still exists."""
    names = systems.names
    if cron_job == names.backup:
        taken = newest_backup(systems.list("v1", "Pod"))
        return str(taken) if taken else None
    if cron_job == names.upload:
        newest = newest_copy(systems.list("v1", "Pod"))
        return f"{newest} has its copy" if newest else None
    origin = {names.drill: "volume", names.offsite_drill: "s3"}.get(cron_job)
    restored = [one for one in drills(systems.list("v1", "Pod")) if one.origin == origin] if origin else []
    return str(restored[0]) if restored else None


def _failure(job: Object, cron_job: str) -> Object | None:
    """The condition with which the Job failed; None if it did not, or is not one of that CronJob."""
    owners = job["metadata"].get("ownerReferences", [])
    if not any(one["kind"] == "CronJob" and one["name"] == cron_job and one.get("controller") for one in owners):
        return None
    conditions: list[Object] = (job.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == "Failed" and one["status"] == "True"), None)


def _has_backups(settings: Settings) -> bool:
    return settings.backup is not None


def _has_copies(settings: Settings) -> bool:
    return settings.s3 is not None


CHECKS = tuple(
    Check(name=name, look=partial(recent, which=which, hours=hours), applies=applies)
    for name, which, hours, applies in (
        ("backup", lambda names: names.backup, BACKUP_HOURS, _has_backups),
        ("drill", lambda names: names.drill, DRILL_HOURS, _has_backups),
        ("upload", lambda names: names.upload, BACKUP_HOURS, _has_copies),
        ("offsite-check", lambda names: names.offsite_check, DRILL_HOURS, _has_copies),
        ("offsite-drill", lambda names: names.offsite_drill, DRILL_HOURS, _has_copies),
    )
)
