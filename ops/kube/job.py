"""Creates a Job from a CronJob, as `kubectl create job --from` does, and follows it to its end."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from kubernetes.client.exceptions import ApiException

from ops.kube.cluster import REQUEST_TIMEOUT, Cluster, ClusterError, Selection, unless_gone
from ops.kube.pod_log import PodLog, last_words
from ops.terminal import Terminal

START_PATIENCE: Final = 300.0
"""Seconds from the Job to its running container, to pull an image and attach two volumes."""
_END_PATIENCE: Final = 120.0  # seconds for a deleted Job's pods to end; they are killed after 30

Say = Callable[[str], None]


class JobFailedError(Exception):
    """The Job did not succeed; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A Job that this command creates."""

    cluster: Cluster
    name: str
    say: Say
    """Prints a line of the log."""

    @classmethod
    def of(cls, cron_job: Any, cluster: Cluster, say: Say) -> Self:
        """A Job that does not exist yet, with a unique name."""
        return cls(cluster=cluster, name=f"{cron_job.metadata.name}-{secrets.token_hex(4)}", say=say)

    def follow(self, *, started: Callable[[str], None] | None = None, waiting: Say = lambda _: None) -> None:
        """Prints the logs of the Job's pods and returns when it is complete.

        Raises `JobFailedError`, or `ClusterError` or `StoppedError` if the Job may still run. Calls `started` with the
        first pod's name once its container runs; calls `waiting` with the reason why it does not run yet, and then with
        an empty one.
        """
        first = self._first_pod(waiting)
        waiting("")
        logs: dict[str, PodLog] = {}
        if first is not None:
            logs[first] = PodLog(self.cluster, first, self.say)
            if started is not None:
                started(first)
        selections = self.cluster.job(self.name), self.cluster.pods_of(self.name)
        with closing(self.cluster.snapshots(*selections)) as snapshots:
            for jobs, pods in snapshots:
                self._listen(pods, logs)
                if not jobs:
                    self.end()  # its pod is terminating, and may still be at work
                    raise JobFailedError("somebody deleted the Job")
                ended = _condition(jobs[0])
                if ended is None:
                    continue
                # Two watches arrive at different times: these pods may be those of a moment ago.
                last = self.cluster.pods_of(self.name).listed(self.cluster)
                self._listen(last, logs)
                for log in logs.values():
                    log.finish()
                if ended.type == "Failed":
                    raise _failure(ended, last, logs)
                return

    def _listen(self, pods: list[Any], logs: dict[str, PodLog]) -> None:
        """Starts to follow the logs of new pods that have one, the oldest pod first."""
        for pod in sorted(pods, key=lambda one: str(one.metadata.creation_timestamp)):
            if pod.metadata.name not in logs and pod.status.phase in {"Running", "Succeeded", "Failed"}:
                logs[pod.metadata.name] = PodLog(self.cluster, pod.metadata.name, self.say)

    def is_complete(self) -> bool:
        """Whether the Job has ended successfully."""
        jobs = self.cluster.job(self.name).listed(self.cluster)
        ended = _condition(jobs[0]) if jobs else None
        return ended is not None and ended.type == "Complete"

    def end(self) -> None:
        """Deletes the Job, and returns when none of its pods runs any more."""
        delete(self.cluster, self.name)

    def _first_pod(self, waiting: Say) -> str | None:
        """Waits for the first pod whose container runs or has run; None if the Job ended without one."""
        reason = "no pod was made"
        selections = self.cluster.job(self.name), self.cluster.pods_of(self.name)
        try:
            with closing(self.cluster.snapshots(*selections, timeout=START_PATIENCE)) as snapshots:
                for jobs, pods in snapshots:
                    for pod in pods:
                        if pod.status.phase != "Pending":
                            return str(pod.metadata.name)
                        reason = pending_reason(pod)
                        waiting(reason)
                    if not jobs or _condition(jobs[0]) is not None:
                        break
        except TimeoutError:
            raise ClusterError(
                f"the pod of {self.name} did not start within {START_PATIENCE:.0f} s: {reason}"
            ) from None
        return None


def create(job: Job, cron_job: Any, *, environment: Mapping[str, str] | None = None, script: str | None = None) -> None:
    """Creates the Job from the CronJob's template, with these variables in the environment of its one container.

    A Job with another `script` is not a run of the CronJob, and is deleted an hour after its end. The CronJob only owns
    it and is not its controller, because otherwise its success would count as the CronJob's.
    """
    cluster = job.cluster
    template = cron_job.spec.job_template
    job_spec = cluster.client.sanitize_for_serialization(template.spec)
    (container,) = job_spec["template"]["spec"]["containers"]
    given = environment or {}
    container["env"] = [
        *(each for each in container.get("env", []) if each["name"] not in given),
        *({"name": variable, "value": value} for variable, value in given.items()),
    ]
    if script is not None:
        container["command"] = ["sh", f"/scripts/{script}"]
        job_spec |= {"backoffLimit": 0, "ttlSecondsAfterFinished": 3600}
    metadata = template.metadata
    body: dict[str, Any] = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job.name,
            "labels": metadata.labels if metadata else None,
            "annotations": {
                **((metadata.annotations if metadata else None) or {}),
                "cronjob.kubernetes.io/instantiate": "manual",
            },
            # As for the CronJob's own Jobs: they are deleted with it. A pod that has ended still holds its claims
            # (pvc_protection_controller.go, podUsesPVCForDeletion), and a `destroy` would wait for it in vain.
            "ownerReferences": [
                {
                    "apiVersion": "batch/v1",
                    "kind": "CronJob",
                    "name": cron_job.metadata.name,
                    "uid": cron_job.metadata.uid,
                    "controller": script is None,
                }
            ],
        },
        "spec": job_spec,
    }

    def request() -> None:
        try:
            cluster.batch.create_namespaced_job(cluster.namespace, body, _request_timeout=REQUEST_TIMEOUT)
        except ApiException as error:
            # The name is unique: an earlier attempt created the Job, and its answer was lost.
            if error.status != 409:
                raise

    cluster.persistently(request)


def run(
    job: Job,
    cron_job: Any,
    terminal: Terminal,
    *,
    does: str,
    failed: str,
    environment: Mapping[str, str] | None = None,
    script: str | None = None,
) -> None:
    """Creates the Job (`create`) and follows it to its end; deletes it if the wait ends early.

    `does` says what the Job does and is printed after its name; `failed` begins the message of `JobFailedError`. Also
    raises `ClusterError` and `StoppedError`.
    """
    try:
        create(job, cron_job, environment=environment, script=script)
        with terminal.step(f"{job.name} {does}"):
            job.follow(waiting=terminal.waiting)
    except JobFailedError as error:
        raise JobFailedError(f"{failed}: {error}") from error
    except BaseException:
        with job.cluster.interrupts.deferred(), terminal.step(f"ending {job.name}"):
            job.end()
        raise


def made_from(cluster: Cluster, cron_job: Any) -> list[Any]:
    """The CronJob's own Jobs, without those that run another script."""
    return [
        job
        for job in Selection(listing=cluster.batch.list_namespaced_job, selector={}).listed(cluster)
        if any(owner.uid == cron_job.metadata.uid and owner.controller for owner in job.metadata.owner_references or [])
    ]


def has_ended(job: Any) -> bool:
    """Whether the Job has succeeded, or failed for good."""
    return _condition(job) is not None


def unfinished(cluster: Cluster, cron_job: Any) -> list[str]:
    """Names of the CronJob's Jobs that have not ended."""
    return [job.metadata.name for job in made_from(cluster, cron_job) if not has_ended(job)]


def delete(cluster: Cluster, name: str) -> None:
    """Deletes a Job, and returns when it and its pods are gone; does nothing if it does not exist."""

    request = partial(
        cluster.batch.delete_namespaced_job,
        name,
        cluster.namespace,
        propagation_policy="Foreground",
        _request_timeout=REQUEST_TIMEOUT,
    )
    cluster.persistently(partial(unless_gone, request))
    # The Job is deleted a moment after its pods, and counts as running until then.
    selections = cluster.job(name), cluster.pods_of(name)
    if not cluster.until(*selections, done=lambda jobs, pods: not jobs and not pods, timeout=_END_PATIENCE):
        raise ClusterError(f"the pod of {name} has not ended; see: kubectl -n {cluster.namespace} get pods")


def pending_reason(pod: Any) -> str:
    """Why a pod's container does not run yet, in the scheduler's or the kubelet's words."""
    for status in pod.status.container_statuses or []:
        waiting = status.state.waiting if status.state else None
        if waiting is not None and waiting.reason != "ContainerCreating":
            return f"{waiting.reason}: {waiting.message}" if waiting.message else str(waiting.reason)
    for condition in pod.status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            return str(condition.message or condition.reason)
    return "its container is being created"


def _condition(job: Any) -> Any | None:
    """The condition with which the Job ended; None if it has not."""
    conditions = (job.status.conditions if job.status else None) or []
    return next((one for one in conditions if one.type in {"Complete", "Failed"} and one.status == "True"), None)


def _failure(ended: Any, pods: list[Any], logs: Mapping[str, PodLog]) -> JobFailedError:
    """Why the Job failed: the last log lines of the last pod that failed by itself, or else the Job's condition."""
    for pod in sorted(pods, key=lambda one: str(one.metadata.creation_timestamp), reverse=True):
        for status in pod.status.container_statuses or []:
            terminated = status.state.terminated if status.state else None
            if terminated is not None and terminated.exit_code and pod.metadata.name in logs:
                words = last_words(logs[pod.metadata.name].lines)
                # OOMKilled, for example: the script could not log why.
                killed = f"{terminated.reason}; last: " if terminated.reason not in {None, "Error"} else ""
                return JobFailedError(f"{killed}{words}")
    return JobFailedError(f"{ended.reason}: {ended.message}")
