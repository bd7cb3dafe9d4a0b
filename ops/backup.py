"""Takes a backup now, instead of at the scheduled time."""

from __future__ import annotations

import getpass
import os
import socket
from typing import Any, Final

from kubernetes.client.exceptions import ApiException

from ops.kube.cluster import REQUEST_TIMEOUT, Cluster, ClusterError
from ops.kube.job import Job, JobFailedError, create
from ops.results import backup_taken
from ops.terminal import Terminal
from settings import Settings
from settings.commands import pulumi_command

NEARLY_FULL: Final = 3
"""Exit status of `ops backup` when the backup is good, but its volume is nearly full."""
_SAID_SO: Final = " NEARLY FULL: "  # in the log of backup.sh


class NearlyFullError(Exception):
    """The backup is good; there may be no room for the next one."""


def cron_job(cluster: Cluster, name: str) -> Any:
    """One of the Backup component's CronJobs; raises `ClusterError` if `up` has not created it."""
    try:
        return cluster.batch.read_namespaced_cron_job(name, cluster.namespace, _request_timeout=REQUEST_TIMEOUT)
    except ApiException as error:
        if error.status != 404:
            raise
        up = pulumi_command("up", cluster.names.stack)
        raise ClusterError(f"there is no CronJob {name} in {cluster.namespace}: run `{up}` first") from error


def host_of(cron_job: Any) -> str | None:
    """Host of the database that the Jobs of a CronJob connect to."""
    (container,) = cron_job.spec.job_template.spec.template.spec.containers
    return next((one.value for one in container.env if one.name == "PGHOST"), None)


def why_no_backups(settings: Settings) -> str | None:
    """Why the stack has no backups, and what to do about it; None if it has backups."""
    if settings.database is None:
        return f"stack {settings.stack} has no database (database: {{enabled: false}})"
    if settings.backup is None:
        return (
            f"stack {settings.stack} has no backups, which restores need as well: give Pulumi.{settings.stack}.yaml a "
            f"section `{settings.project}:backup: {{}}` and run `{pulumi_command('up', settings.stack)}`"
        )
    return None


def check_has_backups(settings: Settings) -> None:
    """Raises `ClusterError` if the stack has no backups."""
    if why := why_no_backups(settings):
        raise ClusterError(why)


def written_by(job: Job) -> str:
    """Name of the backup that a Job of backup.sh has taken. Raises `ClusterError` if its pods do not report it."""
    cluster = job.cluster
    pods = cluster.client.sanitize_for_serialization(cluster.pods_of(job.name).listed(cluster))
    name = backup_taken(pods)
    if name is None:
        raise ClusterError(f"{job.name} does not say what it wrote")
    return name


def labels(cluster: Cluster) -> dict[str, str]:
    """What backup.sh writes into the manifest for people to read: who takes the backup, and the app's current image."""
    app = cluster.names.app
    found = cluster.deployment(app).listed(cluster)
    images = [one.image for each in found for one in each.spec.template.spec.containers if one.name == app]
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container whose account has no name
        user = str(os.getuid())
    return {"TAKEN_BY": f"{user}@{socket.gethostname()}", **({"IMAGE": images[0]} if images else {})}


def back_up(cluster: Cluster, terminal: Terminal) -> None:
    """Takes a backup and returns when it is complete; raises `JobFailedError`, `NearlyFullError`, `ClusterError`."""
    nearly_full = ""

    def say(line: str) -> None:
        nonlocal nearly_full
        nearly_full = line.partition(_SAID_SO)[2] or nearly_full
        terminal.say(line)

    template = cron_job(cluster, cluster.names.backup)
    job = Job.of(template, cluster, say)
    create(job, template, environment=labels(cluster))
    try:
        with terminal.step(f"{job.name} takes a backup of {cluster.names.stack}'s database"):
            job.follow(waiting=terminal.waiting)
    except JobFailedError as error:
        raise JobFailedError(f"No backup: {error}") from error
    except ClusterError:  # a signal, or no answer of the API server
        terminal.say(f"The backup continues: kubectl -n {cluster.namespace} logs --follow job/{job.name}")
        raise
    terminal.say("The backup is complete.")
    if nearly_full:
        raise NearlyFullError(nearly_full)
