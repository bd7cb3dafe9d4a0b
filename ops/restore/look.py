"""Restores a backup into a database beside the live one, for inspection until somebody discards it."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

from components.database_address import PORT, DatabaseAddress
from ops.backup import cron_job
from ops.kube.cluster import Cluster, ClusterError
from ops.kube.job import Job, JobFailedError, create, unfinished
from ops.restore import RestoreRequest, brought, send, template_for
from ops.superuser import lent
from ops.terminal import Terminal
from settings.cloudnative_pg import EngineSettings
from settings.commands import ops_command
from settings.names import Names


def look_into(cluster: Cluster, terminal: Terminal, request: RestoreRequest, engine: EngineSettings) -> None:
    """Fills the database and prints how to reach it. If it raises `JobFailedError` or `ClusterError`, there is none."""
    if request.into is None:
        raise ValueError("asked to look into no database")
    template = template_for(cluster, request)
    _refuse_restore(cluster, template)
    wanted = brought(cluster, terminal, request)
    _refuse_restore(cluster, template)  # the fetch may take hours
    # The Job counts as a restore: a restore ends it if it finds it running.
    job = Job.of(template, cluster, terminal.say)
    with lent(cluster, terminal, template) as superuser:
        create(job, template, environment={**wanted.environment, **superuser})
        try:
            with terminal.step(f"{job.name} fills a database beside the live one from {request.source}"):
                job.follow(started=partial(send, cluster, terminal, wanted.source), waiting=terminal.waiting)
        except JobFailedError as error:
            raise JobFailedError(f"There is no database to look into: {error}") from error
        except BaseException:
            with cluster.interrupts.deferred(), terminal.step(f"ending {job.name}"):
                if not job.is_complete():
                    job.end()
                    raise
    terminal.say(ways_in(cluster.names, request.into, engine))


def _refuse_restore(cluster: Cluster, template: Any) -> None:
    if running := unfinished(cluster, template):
        raise ClusterError(f"a restore runs: wait for the end of {', '.join(running)}")


def discard(cluster: Cluster, terminal: Terminal, *, name: str) -> None:
    """Drops the database if it still exists; raises `JobFailedError` and `ClusterError`."""
    template = cron_job(cluster, cluster.names.restore)
    job = Job(cluster=cluster, name=f"{cluster.names.discard}-{secrets.token_hex(4)}", say=terminal.say)
    create(job, template, environment={"DISCARD": name}, script="discard.sh")
    try:
        with terminal.step(f"{job.name} discards {cluster.names.look(name)}"):
            job.follow(waiting=terminal.waiting)
    except JobFailedError as error:
        raise JobFailedError(f"The database may still exist: {error}") from error


def ways_in(names: Names, name: str, engine: EngineSettings) -> str:
    """How to reach the database, and how to discard it."""
    service = DatabaseAddress.of(names, engine).host
    # CloudNativePG's socket accepts only the server's own operating-system user, whose role is psql's default.
    role = "" if engine.is_cluster else f" --username={names.database_role}"
    return (
        "To look into it:\n"
        f"    kubectl -n {names.namespace} exec -it service/{service} -- psql{role} --dbname={names.look(name)}\n"
        "Or, with a client of your own and the password from 1Password, at 127.0.0.1:15432:\n"
        f"    kubectl -n {names.namespace} port-forward service/{service} 15432:{PORT}\n"
        f"When you are done:\n    {ops_command('restore', names.stack, '--discard', name)}"
    )
