"""Brings an off-site copy back onto the backup volume, by a Job in the cluster, where the keys are."""

from __future__ import annotations

import secrets
from typing import Final

from ops.backup import cron_job
from ops.kube.cluster import Cluster, ClusterError
from ops.kube.job import Job, JobFailedError, create
from ops.terminal import Terminal

_SAID_SO: Final = " FETCHED "  # in the log of fetch.sh


def fetch(cluster: Cluster, terminal: Terminal, *, name: str) -> str:
    """Fetches the copy of this name, or the `latest`, and returns its name; the backup is then on the volume.

    Raises `JobFailedError` if the copy cannot be fetched, and `ClusterError`.
    """
    fetched = ""

    def say(line: str) -> None:
        nonlocal fetched
        fetched = line.partition(_SAID_SO)[2] or fetched
        terminal.say(line)

    template = cron_job(cluster, cluster.names.upload)
    job = Job(cluster=cluster, name=f"{cluster.names.fetch}-{secrets.token_hex(4)}", say=say)
    create(job, template, environment={"FETCH": name}, script="fetch.sh")
    try:
        with terminal.step(f"{job.name} fetches {name} from off-site"):
            job.follow(waiting=terminal.waiting)
    except JobFailedError as error:
        raise JobFailedError(f"The copy could not be fetched: {error}") from error
    except ClusterError:  # a signal, or no answer of the API server
        terminal.say(f"The fetch continues: kubectl -n {cluster.namespace} logs --follow job/{job.name}")
        raise
    if not fetched:
        raise JobFailedError(f"{job.name} has ended and does not say what it fetched")
    return fetched
