"""Brings an off-site copy back onto the backup volume, by a Job in the cluster, where the keys are."""

from __future__ import annotations

import secrets

from ops.backup import cron_job
from ops.backups import LATEST
from ops.kube.cluster import Cluster, ClusterError
from ops.kube.job import Job, JobFailedError, create
from ops.terminal import Terminal


def newest(cluster: Cluster, terminal: Terminal) -> str:
    """Name of the newest copy off-site; fetches nothing.

    Raises `JobFailedError` if nobody can say which one that is, for example because one of the copies cannot be read,
    and `ClusterError`.
    """
    heard = _Heard(terminal, "NEWEST")
    job = _started(cluster, heard, {"FETCH": LATEST, "NAME_ONLY": "true"})
    try:
        with terminal.step(f"{job.name} looks for the newest copy off-site"):
            job.follow(waiting=terminal.waiting)
    except JobFailedError as error:
        raise JobFailedError(f"The newest copy could not be found: {error}") from error
    if not heard.name:
        raise JobFailedError(f"{job.name} has ended and does not say which copy is the newest")
    return heard.name


def fetch(cluster: Cluster, terminal: Terminal, *, name: str) -> str:
    """Fetches the copy of this name, or the `latest`, and returns its name; the backup is then on the volume.

    Raises `JobFailedError` if the copy cannot be fetched, and `ClusterError`.
    """
    heard = _Heard(terminal, "FETCHED")
    job = _started(cluster, heard, {"FETCH": name})
    try:
        with terminal.step(f"{job.name} fetches {name} from off-site"):
            job.follow(waiting=terminal.waiting)
    except JobFailedError as error:
        raise JobFailedError(f"The copy could not be fetched: {error}") from error
    except ClusterError:  # a signal, or no answer of the API server
        terminal.say(f"The fetch continues: kubectl -n {cluster.namespace} logs --follow job/{job.name}")
        raise
    if not heard.name:
        raise JobFailedError(f"{job.name} has ended and does not say what it fetched")
    return heard.name


class _Heard:
    """Prints the log of fetch.sh, and keeps the name that follows this word in it."""

    def __init__(self, terminal: Terminal, word: str) -> None:
        self._terminal, self._word = terminal, word
        self.name = ""

    def __call__(self, line: str) -> None:
        self.name = line.partition(f" {self._word} ")[2] or self.name
        self._terminal.say(line)


def _started(cluster: Cluster, heard: _Heard, environment: dict[str, str]) -> Job:
    template = cron_job(cluster, cluster.names.upload)
    job = Job(cluster=cluster, name=f"{cluster.names.fetch}-{secrets.token_hex(4)}", say=heard)
    create(job, template, environment=environment, script="fetch.sh")
    return job
