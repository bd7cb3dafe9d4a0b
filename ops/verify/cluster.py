"""The stack's workloads in the cluster."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Final

from components import app
from components.ages import is_ahead
from components.environment import LABELS
from components.retained_volume import RETAIN
from lookups.database_claims import STOPPED_BY, UPGRADE_RUN
from lookups.volumes import holders
from ops.verify.check import Check
from ops.verify.systems import Object, Systems
from ops.verify.trouble import CheckError
from settings import Settings
from settings.commands import ops_command
from settings.images import image_repository
from settings.names import Names

LOOK: Final = "look at its pods and events: kubectl -n {0} describe pods --selector=app={1}"


def namespace(systems: Systems) -> str:
    """The namespace is active, and has the labels that decide which pods it admits."""
    found = systems.need("v1", "Namespace", systems.names.namespace)
    if found["status"]["phase"] != "Active":
        fix = f"if nothing changes, resolve what blocks it; once it is gone, {systems.up}"
        raise CheckError(f"it is {found['status']['phase']}. {holders(found)}", fix)
    labels = found["metadata"].get("labels", {})
    differing = {key: value for key, value in LABELS.items() if labels.get(key) != value}
    wrong = [f"label {key} is {labels.get(key)!r}, not {value!r}" for key, value in differing.items()]
    if wrong:
        raise CheckError("; ".join(wrong), systems.up)
    return f"{systems.names.namespace} is Active, its {len(LABELS)} labels are right"


def database_ready(systems: Systems) -> str:
    """The StatefulSet is ready, and its pod is of the latest revision."""
    found = systems.need("apps/v1", "StatefulSet", systems.names.database)
    status, wanted = found["status"], found["spec"]["replicas"]
    ready = status.get("readyReplicas", 0)
    seen = f"{ready} of {wanted} replicas ready"
    if wanted == 0:
        raise CheckError("scaled to 0 replicas", systems.up)
    if ready != wanted:
        raise CheckError(seen, LOOK.format(systems.names.namespace, systems.names.database))
    if _is_unseen(found) or status.get("currentRevision") != status.get("updateRevision"):
        raise CheckError(f"{seen}, but not yet of the latest revision", "wait for the pod to be replaced")
    return f"{seen}, {found['spec']['template']['spec']['containers'][0]['image']}"


def volume(systems: Systems, *, which: Callable[[Names], str]) -> str:
    """The claim is bound to a volume that exists."""
    claim = which(systems.names)
    found = systems.need("v1", "PersistentVolumeClaim", claim)
    phase = found["status"]["phase"]
    if phase != "Bound":
        fix = f"kubectl -n {systems.names.namespace} describe pvc {claim}, and look at the volume in Longhorn"
        raise CheckError(f"{claim} is {phase}", fix)
    if "deletionTimestamp" in found["metadata"]:
        raise CheckError(
            f"{claim} is being deleted, and is gone with the last pod that uses it",
            "take a backup, and restore it into a new volume (docs/runbook/backups.md)",
        )
    return f"{claim} is Bound, {found['status']['capacity']['storage']}"


def lasting_volume(systems: Systems, *, which: Callable[[Names], str]) -> str:
    """As `volume`; in a protected stack the volume must outlive its claim."""
    seen = volume(systems, which=which)
    if not systems.settings.protect:
        return seen
    claim = systems.need("v1", "PersistentVolumeClaim", which(systems.names))
    name = claim["spec"]["volumeName"]
    policy = systems.need("v1", "PersistentVolume", name)["spec"]["persistentVolumeReclaimPolicy"]
    if policy != RETAIN:
        reason = f"its volume {name} has the reclaim policy {policy}: it is deleted with the claim"
        raise CheckError(f"{seen}, but {reason}", systems.up)
    return f"{seen}; its volume {name} is retained"


def rollout(systems: Systems) -> str:
    """The app runs its latest template, as `kubectl rollout status` checks."""
    found = _deployment(systems)
    status, wanted = found["status"], found["spec"]["replicas"]
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    seen = f"{updated} of {wanted} replicas updated, {available} available"
    fix = LOOK.format(systems.names.namespace, systems.names.app)
    if wanted == 0:
        annotations = found["metadata"].get("annotations", {})
        if annotations.get(STOPPED_BY, "").startswith(UPGRADE_RUN):
            again = ops_command("upgrade", systems.settings.stack, "--to", "<version>")
            raise CheckError("stopped for an upgrade", f"let it end; if none runs any more, run `{again}` again")
        if STOPPED_BY in annotations:
            restore = ops_command("restore", systems.settings.stack)
            raise CheckError("stopped for a restore", f"let it end; if none runs any more, run `{restore}` again")
        raise CheckError("scaled to 0 replicas", systems.up)
    if _is_unseen(found):
        raise CheckError("the controller has not seen the latest change", "wait; if it stays so, look at the cluster")
    stuck = [one for one in status.get("conditions", []) if one["type"] == "Progressing" and one["status"] == "False"]
    if stuck:
        raise CheckError(f"{seen}: {stuck[0]['message']}", fix)
    if updated != wanted or available != wanted or status.get("replicas", 0) > updated:
        raise CheckError(f"{seen}, {status.get('replicas', 0) - updated} of an older version still run", fix)
    return seen


def image(systems: Systems) -> str:
    """The running image was built for this environment: public addresses and the like are baked into it."""
    found = _image(systems, _deployment(systems))
    first = systems.settings.app.image
    repository = image_repository(first)
    delivery = systems.settings.delivery
    branch = f" of branch {delivery.branch}" if delivery else ""
    fix = f"run the app's pipeline{branch}, which deploys an image of {repository}"
    if found == first:
        raise CheckError(f"{found} is still the placeholder of the first `up`", fix)
    if image_repository(found) != repository:
        raise CheckError(f"{found} is not of this environment, whose images are in {repository}", fix)
    return found


def migration(systems: Systems) -> str:
    """The last migration succeeded. Finished Jobs are deleted after a while, so an older version may have none left."""
    jobs = [
        one
        for one in systems.list("batch/v1", "Job")
        if one["metadata"]["name"].startswith(f"{systems.names.migration}-")
    ]
    if not jobs:
        return _without_migration(systems)

    def made(job: Object) -> tuple[bool, dt.datetime]:
        time = moment(job["metadata"]["creationTimestamp"])
        # One from the future was made before the others, while the cluster's clock was ahead.
        return not is_ahead(time, now=systems.now), time

    last = max(jobs, key=made)
    name = last["metadata"]["name"]
    logs = f"kubectl -n {systems.names.namespace} logs job/{name}"
    for condition in last["status"].get("conditions") or []:
        if condition["type"] == "Complete" and condition["status"] == "True":
            return f"{name} succeeded {last['status']['completionTime']}"
        if condition["type"] == "Failed" and condition["status"] == "True":
            fix = f"{logs}; correct the migration and run the app's pipeline again"
            raise CheckError(f"{name} failed: {condition['reason']}", fix)
    raise CheckError(f"{name} has not ended since {last['metadata']['creationTimestamp']}", f"wait, and read: {logs}")


def _without_migration(systems: Systems) -> str:
    running = _image(systems, _deployment(systems))
    sets = [
        moment(one["metadata"]["creationTimestamp"])
        for one in systems.list("apps/v1", "ReplicaSet")
        if any(owner["name"] == systems.names.app for owner in one["metadata"].get("ownerReferences", []))
        and _image(systems, one) == running
    ]
    kept = dt.timedelta(seconds=app.MIGRATION_KEPT_SECONDS)
    if sets and systems.now - min(sets) > kept:
        return f"none left: this version runs since {min(sets):%Y-%m-%d}, and finished Jobs are kept {kept.days} days"
    raise CheckError(
        "no migration has run for this version", "run the app's pipeline, which migrates before it deploys"
    )


def moment(text: str) -> dt.datetime:
    """Parses a time in the form of Kubernetes and GitLab."""
    return dt.datetime.fromisoformat(text)


def _deployment(systems: Systems) -> Object:
    return systems.need("apps/v1", "Deployment", systems.names.app)


def _image(systems: Systems, workload: Object) -> str:
    containers = workload["spec"]["template"]["spec"]["containers"]
    return next((str(one["image"]) for one in containers if one["name"] == systems.names.app), "no image")


def _is_unseen(workload: Object) -> bool:
    return bool(workload["status"].get("observedGeneration", 0) < workload["metadata"]["generation"])


def has_database(settings: Settings) -> bool:
    """Whether the app has a database."""
    return settings.database is not None


CHECKS = (
    Check(name="namespace", look=namespace),
    Check(
        name="backup-volume",
        look=partial(lasting_volume, which=lambda names: names.backups_claim),
        applies=lambda settings: settings.backup is not None,
    ),
    Check(name="rollout", look=rollout),
    Check(name="image", look=image),
    Check(name="migration", look=migration, applies=has_database),
)
