"""Reads whether the app's role is a superuser, revokes that, or lends it to a restore, over the pod's socket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from components.database import CONTAINER, without_comments
from ops.backup import cron_job
from ops.kube.cluster import Cluster, ClusterError
from ops.kube.exec import run_in
from ops.kube.job import unfinished
from ops.terminal import Terminal
from settings import Settings
from settings.commands import ops_command

_OPTIONS: Final = re.compile(r"^(?:usual|silent)='[^']*'\n", re.MULTILINE)
"""The two sets of session options in set-role-password.sh."""
_ASK: Final = """
ask() { psql --no-psqlrc --no-password --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "$@"; }
first=$(PGOPTIONS=$usual ask --username="$POSTGRES_USER" --dbname=postgres \\
  --command='SELECT rolname FROM pg_roles WHERE oid = 10') || exit
PGOPTIONS="$usual $silent" ask --username="$first" --dbname="${2:-$POSTGRES_DB}" --set=role="$POSTGRES_USER" \\
  --set=monitor="$1"
"""
PSQL: Final = "".join(_OPTIONS.findall(without_comments("set-role-password.sh", "#"))) + _ASK
"""Runs the given statements as the server's first role, whatever its name; settings of the roles do not apply."""
_STATE: Final = "SELECT rolsuper, oid = 10 FROM pg_roles WHERE rolname = :'role';\n"
_LEND: Final = 'ALTER ROLE :"role" SUPERUSER;\n'
_TAKE_BACK: Final = 'ALTER ROLE :"role" NOSUPERUSER;\n'


@dataclass(frozen=True, kw_only=True)
class Role:
    """The app's role, as the server reports it."""

    superuser: bool
    first: bool
    """Whether the data directory was created with this role; it is then always a superuser."""


@dataclass(frozen=True, kw_only=True)
class DatabasePod:
    """The database's pod, in a stack whose database is a StatefulSet."""

    cluster: Cluster
    name: str

    @classmethod
    def of(cls, cluster: Cluster) -> DatabasePod:
        """The running pod; raises `ClusterError` if there is none."""
        for pod in cluster.pods({"app": cluster.names.database}).listed(cluster):
            if pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None:
                return cls(cluster=cluster, name=pod.metadata.name)
        raise ClusterError(f"the pod of {cluster.names.database} does not run: kubectl -n {cluster.namespace} get pods")

    def sql(self, statements: str, database: str = "postgres") -> str:
        """Runs SQL in a database as the server's first role; returns what psql prints. Raises `ClusterError`."""
        monitor = self.cluster.names.monitor_role
        return run_in(self.cluster, self.name, CONTAINER, PSQL, monitor, database, given=statements).strip()

    def role(self) -> Role:
        """Reads the app's role."""
        superuser, _, first = self.sql(_STATE).partition("|")
        return Role(superuser=superuser == "t", first=first == "t")


@dataclass(frozen=True, kw_only=True)
class Revocation:
    """Revokes SUPERUSER from a stack's app role; call `look` before asking the user, `run` after."""

    pod: DatabasePod
    settings: Settings
    before: Role

    @classmethod
    def look(cls, cluster: Cluster, settings: Settings) -> Revocation:
        """Reads the role; changes nothing. Raises `ClusterError` if this stack's role cannot be changed now."""
        if settings.database is None or settings.operated_database is not None:
            raise ClusterError(f"stack {settings.stack} has no StatefulSet of PostgreSQL: there is no such role")
        _refuse_restore(cluster, settings)
        pod = DatabasePod.of(cluster)
        return cls(pod=pod, settings=settings, before=pod.role())

    @property
    def announcement(self) -> str:
        """What will happen."""
        role = self.pod.cluster.names.database_role
        if not self.before.superuser:
            return f"The role {role} is no superuser. Sessions from before that, if any, are ended."
        if not self.before.first:
            return f"The role {role} is still a superuser, from a restore that did not end: this revokes it."
        return (
            f"The role {role} is PostgreSQL's superuser. It becomes the owner of its database and of all that is in\n"
            "it, with the same password. The superuser is postgres then, which logs in over the pod's socket only.\n"
            "Tables are locked for a moment, and the app's sessions end once: it connects again by itself."
        )

    def run(self) -> str:
        """Revokes SUPERUSER; returns a message with what the server reports afterwards.

        Raises `ClusterError`. Either the old or the new state is then in place, and another run completes the change.
        """
        cluster = self.pod.cluster
        _refuse_restore(cluster, self.settings)  # one may have begun while the user was asked
        with cluster.interrupts.deferred():  # one transaction, which commits or does not
            self.pod.sql(without_comments("hand-over.sql", "--"), cluster.names.database_role)
        after = self.pod.role()
        if after.superuser:
            raise ClusterError(f"the role {cluster.names.database_role} is still a superuser")
        return f"The role {cluster.names.database_role} is no superuser, and owns its database."


def _refuse_restore(cluster: Cluster, settings: Settings) -> None:
    if settings.backup is None:
        return
    if running := unfinished(cluster, cron_job(cluster, cluster.names.restore)):
        raise ClusterError(f"a restore runs, and needs a superuser: wait for the end of {', '.join(running)}")


def needs_loan(cluster: Cluster, template: Any) -> bool:
    """Whether the role that the Jobs of `template` log in as has to be made a superuser for a restore.

    Raises `ClusterError` if the database's pod does not run, or no command can be run in it.
    """
    (container,) = template.spec.job_template.spec.template.spec.containers
    variables = {one.name for one in container.env}
    # CloudNativePG's databases have an administrator beside the owner. A move has one server of each engine.
    operated = "OWNER" in variables and "SOURCE_PGUSER" not in variables
    return not operated and not DatabasePod.of(cluster).role().first


@contextmanager
def lent(cluster: Cluster, terminal: Terminal, template: Any) -> Iterator[dict[str, str]]:
    """Makes the app's role, as which a restore's Job logs in, a superuser: restoring roles, event triggers and
    untrusted extensions needs one. Yields variables for the Job's environment.

    Does nothing if the role of `template`, the CronJob, is a superuser anyway. The Job revokes it at its end, and this
    does so, too.
    """
    if not needs_loan(cluster, template):
        yield {}
        return
    try:
        with terminal.step(f"making {cluster.names.database_role} a superuser for the restore"):
            DatabasePod.of(cluster).sql(_LEND)
        yield {"RESTORE_LENT": "true"}  # restore.sh revokes it at its end
    finally:
        with cluster.interrupts.deferred():
            try:
                DatabasePod.of(cluster).sql(_TAKE_BACK)
            except ClusterError as error:
                terminal.say(
                    f"{error}\nThe role {cluster.names.database_role} may still be a superuser: "
                    f"{ops_command('revoke-superuser', cluster.names.stack)}"
                )
