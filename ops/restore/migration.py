"""Keeps a restore and a migration apart: a restore ends the migration's connection, and its Job then tries again.

The second attempt would migrate the restored database, and the app's pipeline would deploy the image that goes with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from ops.kube.cluster import REQUEST_TIMEOUT, Cluster, ClusterError, unless_gone
from ops.kube.job import has_ended, made_from
from ops.restore.source import Source, shown
from settings.commands import ops_command


def refuse_running(cluster: Cluster, source: Source) -> frozenset[str]:
    """Raises `ClusterError`, with the command that ends it, if a migration has not ended; `source` is the restore's.

    Returns the UIDs of the migrations that have ended, for `refuse_new`.
    """
    jobs, running = _migrations(cluster)
    if running:
        listed = ", ".join(f"{job.metadata.name}, since {shown(job.metadata.creation_timestamp)}" for job in running)
        raise ClusterError(
            f"a migration runs, or waits for its second attempt, and would migrate the restored database: {listed}. "
            f"End it:\n    {_ending(cluster, running)}\n{_again(cluster, source)}"
        )
    return frozenset(job.metadata.uid for job in jobs)


def refuse_new(cluster: Cluster, known: Collection[str]) -> None:
    """Raises `ClusterError`, after a restore, if a migration has begun since `refuse_running` returned `known`."""
    jobs, running = _migrations(cluster)
    new = [job for job in jobs if job.metadata.uid not in known]
    if not new:
        return
    end = f"End it:\n    {_ending(cluster, running)}\n" if running else ""
    raise ClusterError(
        f"But a migration began during the restore: {', '.join(job.metadata.name for job in new)}. It migrates the "
        f"restored database, or has migrated the replaced one. {end}If the database must be as in the backup, restore "
        "that again"
    )


def _migrations(cluster: Cluster) -> tuple[list[Any], list[Any]]:
    """The migrations' Jobs, and those of them that have not ended; none if `up` has not created their CronJob."""
    read = partial(
        cluster.batch.read_namespaced_cron_job,
        cluster.names.migration,
        cluster.namespace,
        _request_timeout=REQUEST_TIMEOUT,
    )
    template = cluster.persistently(partial(unless_gone, read))
    if template is None:
        return [], []
    jobs = made_from(cluster, template)
    return jobs, [job for job in jobs if not has_ended(job)]


def _ending(cluster: Cluster, jobs: Sequence[Any]) -> str:
    names = " ".join(job.metadata.name for job in jobs)
    # By default, `kubectl` returns while the pod still runs, for up to 30 s.
    return f"kubectl -n {cluster.namespace} delete job {names} --cascade=foreground"


def _again(cluster: Cluster, source: Source) -> str:
    if source.recovered is None:
        return "Then run this again"
    # `--to` would recover the database once more.
    return f"Then: {ops_command('restore', cluster.names.stack, '--from', source.backup or '')}"
