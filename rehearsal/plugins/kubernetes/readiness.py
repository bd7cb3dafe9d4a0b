"""When an object of each kind counts as ready, by the rules of the real plugin's awaiters.

Each function takes live objects and returns what is still missing, as the real plugin words it; nothing means ready.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rehearsal.plugins.kubernetes.objects import Object, annotation, condition, is_owned_by, metadata, pluck

_REVISION: Final = "deployment.kubernetes.io/revision"
_FATAL_JOB_REASONS: Final = ("BackoffLimitExceeded", "DeadlineExceeded")
_NO_ENDPOINTS: Final = (
    "Service does not target any Pods. Selected Pods may not be ready, or field '.spec.selector' may not match labels "
    "on any Pods"
)


def is_observed(obj: Object) -> bool:
    """Whether the controller's status is about the object's current generation, not an earlier one."""
    return bool(pluck(obj, "status", "observedGeneration") == metadata(obj, "generation"))


def deployment(
    live: Object, replica_sets: Sequence[Object], pods: Sequence[Object], claims: Sequence[Object]
) -> list[str]:
    """What a Deployment's rollout still lacks: an available Deployment, a ready new ReplicaSet, bound claims."""
    revision = annotation(live, _REVISION)
    own = [rs for rs in replica_sets if is_owned_by(rs, live) and annotation(rs, _REVISION) == revision]
    new = own[0] if revision is not None and own else None
    available = _is_true(live, "Available")
    progressed = _is_true(live, "Progressing") and (condition(live, "Progressing") or {}).get("reason") == (
        "NewReplicaSetAvailable"
    )
    unbound = [claim for claim in _used_claims(live, claims) if pluck(claim, "status", "phase") != "Bound"]
    first = revision == "1"
    ready = new is not None and (pluck(new, "status", "readyReplicas") or 0) >= pluck(new, "spec", "replicas")
    if available and ready and (progressed or first) and not unbound:
        return []
    reasons = [_reason(live, type_) for type_ in ("Progressing", "Available") if not _is_true(live, type_)]
    if unbound:
        names = ",".join(metadata(claim, "name") for claim in unbound)
        reasons.append(f'Failed to bind PersistentVolumeClaim(s): "{names}"')
    if not available:
        reasons.append("Minimum number of live Pods was not attained")
    elif (not ready) if first else (not progressed):
        reasons.append("Minimum number of Pods to consider the application live was not attained")
    elif not ready:
        reasons.append("Attempted to roll forward to new ReplicaSet, but minimum number of Pods did not become live")
    if new is not None:
        reasons += [text for pod in pods if is_owned_by(pod, new) for text in pod_problems(pod)]
    return [reason for reason in reasons if reason]


def _used_claims(live: Object, claims: Sequence[Object]) -> list[Object]:
    volumes = pluck(live, "spec", "template", "spec", "volumes") or []
    used = {pluck(volume, "persistentVolumeClaim", "claimName") for volume in volumes}
    return [claim for claim in claims if metadata(claim, "name") in used]


def stateful_set(live: Object, pods: Sequence[Object]) -> list[str]:
    """What a StatefulSet still lacks: ready replicas that all have the wanted revision."""
    wanted = pluck(live, "spec", "replicas")
    status = live.get("status") or {}
    replicas, ready = status.get("replicas") or 0, status.get("readyReplicas") or 0
    current, updated = status.get("currentReplicas") or 0, status.get("updatedReplicas") or 0
    revisions = status.get("currentRevision") or "", status.get("updateRevision") or ""
    on_delete = pluck(live, "spec", "updateStrategy", "type") == "OnDelete" and metadata(live, "generation") > 1
    revised = on_delete or (revisions[0] != "" and revisions[0] == revisions[1])
    complete = replicas == ready == wanted and (on_delete or current == wanted)
    if revised and complete:
        return []
    reasons = []
    if not complete:
        count = ready if revised else min(ready, updated)
        reasons.append(f"{count} out of {wanted} replicas succeeded readiness checks")
    if not revised:
        reasons.append(
            f'StatefulSet controller failed to advance from revision "{revisions[0]}" to revision "{revisions[1]}"'
        )
    return reasons + [text for pod in pods if is_owned_by(pod, live) for text in pod_problems(pod)]


def job(live: Object, pods: Sequence[Object]) -> list[str]:
    """What a Job still lacks: completion."""
    if _is_true(live, "Complete") and pluck(live, "status", "startTime"):
        return []
    failed = job_failure(live)
    problems = [text for pod in pods if is_owned_by(pod, live) for text in pod_problems(pod)]
    return [*([failed] if failed else []), *problems] or [f'Job "{metadata(live, "name")}" has not completed']


def job_failure(live: Object) -> str | None:
    """Why a Job can no longer succeed, None while it can."""
    failed = condition(live, "Failed") or {}
    if failed.get("status") == "True" and failed.get("reason") in _FATAL_JOB_REASONS:
        return f"[{failed['reason']}] {failed.get('message', '')}"
    return None


def pod(live: Object) -> list[str]:
    """What a Pod still lacks: to be scheduled, initialised and ready, or to have succeeded."""
    if pluck(live, "status", "phase") == "Succeeded":
        return []
    waiting = [type_ for type_ in ("PodScheduled", "Initialized", "Ready") if not _is_true(live, type_)]
    return pod_problems(live) or ([f"condition {waiting[0]} is not met"] if waiting else [])


def service(live: Object, endpoints: Object | None) -> list[str]:
    """What a Service still lacks: all pods that it selects are ready. No pods at all is fine."""
    if not waits_for_endpoints(live):
        return []
    if endpoints is None or any(subset.get("notReadyAddresses") for subset in endpoints.get("subsets") or []):
        return [_NO_ENDPOINTS]
    return []


def waits_for_endpoints(live: Object) -> bool:
    """Whether the Service has endpoints to wait for: it selects pods, and is neither headless nor an external name."""
    spec = live.get("spec") or {}
    return bool(spec.get("selector")) and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName"


def claim(live: Object, storage_class: Object | None) -> list[str]:
    """What a PersistentVolumeClaim still lacks: a volume, unless its class waits for the first pod that uses it."""
    phase = pluck(live, "status", "phase")
    waits = pluck(storage_class, "volumeBindingMode") == "WaitForFirstConsumer"
    if phase == "Bound" or (waits and phase == "Pending"):
        return []
    return [f'PersistentVolumeClaim "{metadata(live, "name")}" is {phase}']


def volume(live: Object) -> list[str]:
    """What a PersistentVolume still lacks: to be available or bound."""
    phase = pluck(live, "status", "phase")
    return [] if phase in ("Available", "Bound") else [f'PersistentVolume "{metadata(live, "name")}" is {phase}']


def quota(live: Object) -> list[str]:
    """What a ResourceQuota still lacks: its controller's record of the limits in the status."""
    taken = pluck(live, "spec", "hard") == pluck(live, "status", "hard")
    return [] if taken else [f'ResourceQuota "{metadata(live, "name")}" is not in effect yet']


def secret(live: Object) -> list[str]:
    """What a Secret still lacks: its token, if it is a service account's."""
    if live.get("type") != "kubernetes.io/service-account-token" or live.get("data"):
        return []
    return [f'Secret "{metadata(live, "name")}" has no token yet']


def pod_problems(live: Object) -> list[str]:
    """Why a pod is not ready: one sentence for the first condition that is not met."""
    for type_ in ("Initialized", "Ready"):
        found = condition(live, type_)
        if found is None or found.get("status") == "True":
            continue
        errors = [
            text for status in pluck(live, "status", "containerStatuses") or [] for text in _container_errors(status)
        ]
        message = found.get("message", "") if found.get("reason") else ""
        if errors or message:
            details = " -- ".join([*([message] if message else []), *errors])
            return [f"[Pod {_qualified(live)}]: {details}"]
    scheduled = condition(live, "PodScheduled") or {}
    if scheduled.get("status") == "False" and scheduled.get("message"):
        return [f"[Pod {_qualified(live)}]: {scheduled['message']}"]
    return []


def _container_errors(status: Object) -> list[str]:
    if status.get("ready"):
        return []
    errors = []
    waiting = pluck(status, "state", "waiting")
    if waiting and waiting.get("reason") != "ContainerCreating":
        errors.append(f"[{waiting.get('reason')}] {waiting.get('message', '')}".rstrip())
    for key in ("state", "lastState"):
        ended = pluck(status, key, "terminated")
        if ended and ended.get("reason"):
            errors.append(
                f"container {status.get('name')} terminated ({ended['reason']}: exit code {ended.get('exitCode')})"
            )
    return errors


def _qualified(live: Object) -> str:
    namespace = metadata(live, "namespace")
    name = str(metadata(live, "name"))
    return name if namespace in (None, "", "default") else f"{namespace}/{name}"


def _is_true(live: Object, type_: str) -> bool:
    return (condition(live, type_) or {}).get("status") == "True"


def _reason(live: Object, type_: str) -> str:
    found = condition(live, type_) or {}
    return f"[{found['reason']}] {found['message']}" if found.get("reason") and found.get("message") else ""
