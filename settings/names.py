"""The names of a stack's objects. They all follow from the Pulumi project's name, which is also the app's name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from settings.ownership import INSTANCE, PART_OF, Owner

PROGRAM: Final = "invoicetron"
"""Name of this program, whichever app it deploys: in the types of components, annotations and a field manager.

The types are part of every URN, and running stacks' objects have the others. So this name never changes, whatever the
apps are called: another one would replace every resource.
"""
LONGEST_PROJECT: Final = 35
"""Characters. A CronJob's name has at most 52, of which the longest suffix below, `-db-offsite-check`, takes 17."""
LONGEST_NAMESPACE: Final = 63

# A Service's name is an RFC 1035 label. Namespaces that begin with kube- are Kubernetes' own.
_PROJECT: Final = re.compile(r"(?!kube(-|$))[a-z]([-a-z0-9]*[a-z0-9])?", re.ASCII)
# PostgreSQL refuses such roles or databases, or already has them; the second line is for CloudNativePG.
_RESERVED: Final = re.compile(
    r"pg_.*|postgres|public|none|template[01]"
    r"|cnpg_.*|streaming_replica"
)
_NO_ROLE: Final = (
    "a name that PostgreSQL and CloudNativePG take for a role and a database: not postgres, public, none, template0, "
    "template1 or streaming-replica"
)
_STACK: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", re.ASCII)


@dataclass(frozen=True)
class Names:
    """The names in one stack of one app. Users and pipelines type them, so they contain nothing random."""

    project: str
    """The Pulumi project, which has the app's name."""
    stack: str

    @property
    def owner(self) -> Owner:
        """The owner of everything that the stack creates."""
        return Owner(self.project, self.stack)

    @property
    def namespace(self) -> str:
        """Namespace of this stack and no other: the project is part of the name."""
        return f"{self.project}-{self.stack}"

    @property
    def app(self) -> str:
        """Deployment, its container, Service, route and policy, and the value of the label `app`."""
        return self.project

    @property
    def app_secret(self) -> str:
        """Secret of the app."""
        return f"{self.project}-app"

    @property
    def migration(self) -> str:
        """CronJob that is the template of the migrations; the names of their Jobs, policy and label begin with it."""
        return f"{self.project}-migrate"

    @property
    def database(self) -> str:
        """StatefulSet of the database, its Service, Secret, policy and label."""
        return f"{self.project}-db"

    @property
    def other_database(self) -> str:
        """Policy of the second database, beside the live one, during a move."""
        return f"{self.database}-other"

    @property
    def database_claim(self) -> str:
        """The database's claim, named as by a claim template `data`, so that `up` can adopt such a claim."""
        return f"data-{self.database}-0"

    def claim_of_major(self, major: int) -> str:
        """The claim to which an upgrade of PostgreSQL to this major version moves the database."""
        return f"data-{self.database}-pg{major}"

    @property
    def upgrade(self) -> str:
        """Permanently suspended CronJob from which `python -m ops upgrade` creates its Job."""
        return f"{self.database}-upgrade"

    @property
    def database_tls(self) -> str:
        """Secret with the certificate and the key of the database's server."""
        return f"{self.database}-tls"

    @property
    def database_authority(self) -> str:
        """ConfigMap with the certificate of the authority that signed `database_tls`."""
        return f"{self.database}-ca"

    @property
    def database_role(self) -> str:
        """PostgreSQL role and database; also the first part of a backup's name. SQL needs no quotes around it."""
        return self.project.replace("-", "_")

    @property
    def wal(self) -> str:
        """Secret with the keys of the bucket in which the write-ahead log is archived."""
        return f"{self.database}-wal"

    @property
    def wal_token(self) -> str:
        """The stack's Cloudflare API token for the bucket of the write-ahead log."""
        return f"{self.namespace}-wal"

    @property
    def recovered(self) -> str:
        """Cluster that `ops restore --to` creates beside the live one, its policy, and the prefix of its Jobs' names.

        The operator's Job for it is `<name>-1-full-recovery`, which has 63 characters with the longest project.
        """
        return f"{self.database}-recovery"

    @property
    def exporter(self) -> str:
        """Deployment of postgres_exporter, its Secret, policy, PodMonitor and label."""
        return f"{self.database}-exporter"

    @property
    def monitor_role(self) -> str:
        """PostgreSQL role with which postgres_exporter reads statistics."""
        return f"{self.database_role}_monitor"

    @property
    def backup(self) -> str:
        """CronJob that takes the backups; their scripts, policy and label."""
        return f"{self.database}-backup"

    @property
    def drill(self) -> str:
        """CronJob that tests the newest backup by restoring it."""
        return f"{self.database}-drill"

    @property
    def restore(self) -> str:
        """Permanently suspended CronJob from which `python -m ops restore` creates its Job."""
        return f"{self.database}-restore"

    @property
    def fetch(self) -> str:
        """Beginning of the names of the Jobs that fetch an off-site copy."""
        return f"{self.database}-fetch"

    @property
    def upload(self) -> str:
        """CronJob that uploads; `python -m ops` also creates from it the Jobs that fetch copies."""
        return f"{self.database}-upload"

    @property
    def offsite(self) -> str:
        """Label, Secret and policy of the pods that copy the backups off-site."""
        return f"{self.database}-offsite"

    @property
    def offsite_check(self) -> str:
        """CronJob that checks the copies."""
        return f"{self.database}-offsite-check"

    @property
    def offsite_drill(self) -> str:
        """CronJob that fetches the newest copy and tests it by restoring it."""
        return f"{self.database}-offsite-drill"

    @property
    def offsite_token(self) -> str:
        """The stack's Cloudflare API token for the bucket of its off-site copies."""
        return f"{self.namespace}-offsite"

    @property
    def listing(self) -> str:
        """Beginning of the names of the Jobs that list the backups."""
        return f"{self.database}-list"

    @property
    def discard(self) -> str:
        """Beginning of the names of the Jobs that drop a database that `ops restore --into` filled."""
        return f"{self.database}-discard"

    @property
    def move(self) -> str:
        """Permanently suspended CronJob from which `python -m ops move-database` creates its Jobs."""
        return f"{self.database}-move"

    def look(self, name: str) -> str:
        """PostgreSQL database that `python -m ops restore --into <name>` fills; restore.sh uses the same name."""
        return f"{self.database_role}_look_{name}"

    @property
    def backups_claim(self) -> str:
        """Claim of the backup volume."""
        return f"{self.project}-backups"

    @property
    def backups_export(self) -> str:
        """PersistentVolume for an NFS export; these are cluster-scoped, so the name contains the namespace."""
        return f"{self.namespace}-backups"

    @property
    def cloudflared_egress(self) -> str:
        """Policy in the tunnel's namespace that lets the tunnel's connector reach the app."""
        return f"{self.project}-cloudflared-egress"

    @property
    def dashboard(self) -> str:
        """ConfigMap with the Grafana dashboard."""
        return f"{self.project}-dashboard"

    @property
    def backup_results(self) -> str:
        """PrometheusRule with the results that the last backup and the last drills reported."""
        return f"{self.project}-backup-results"

    def check_lease(self, check: str) -> str:
        """Lease that records when a scheduled check last passed.

        Its name contains the namespace, because not every exporter adds the namespace to the metric.
        """
        return f"{self.namespace}-{check}"

    @property
    def deploy_token(self) -> str:
        """The stack's deploy token in GitLab. Never `gitlab-deploy-token`, which GitLab hands to every CI job."""
        return f"{self.project}-pull-{self.stack}"

    @property
    def service_token(self) -> str:
        """The stack's Access service token, and the policy that admits it."""
        return f"{self.project}-probe-{self.stack}"

    @property
    def alerts(self) -> str:
        """Beginning of the alerts' names: InvoicetronDown."""
        return "".join(part.capitalize() for part in self.project.split("-"))

    def labels(self, app: str) -> dict[str, str]:
        """Labels of the pods of `app`; selectors use the first. A change to any of them replaces the pods."""
        return {"app": app, PART_OF: self.project}

    @property
    def owner_labels(self) -> dict[str, str]:
        """Labels that name the owner of an object, in whichever namespace the object is."""
        return {PART_OF: self.project, INSTANCE: self.namespace}

    def problems(self, stateless: bool = False) -> Iterator[tuple[str, str, str]]:
        """For each name from which an unusable one would follow, in Kubernetes or PostgreSQL: what it names, the name,
        and what is allowed.

        `stateless`: the stack has no database.
        """
        if not _PROJECT.fullmatch(self.project) or len(self.project) > LONGEST_PROJECT:
            allowed = (
                f"at most {LONGEST_PROJECT} lower-case letters, digits and -, the first a letter and the last no -"
            )
            yield (
                "the name in Pulumi.yaml",
                self.project,
                f"{allowed}, not kube: all names in the cluster follow from it",
            )
        elif _RESERVED.fullmatch(self.database_role) and not stateless:
            yield (
                "the name in Pulumi.yaml",
                self.project,
                f"{_NO_ROLE}, and none that begins with pg- or cnpg-",
            )
        elif not _STACK.fullmatch(self.stack) or len(self.namespace) > LONGEST_NAMESPACE:
            longest = LONGEST_NAMESPACE - len(self.project) - 1
            allowed = f"at most {longest} lower-case letters, digits and -, neither the first nor the last a -"
            yield "the name of the stack", self.stack, f"{allowed}: its namespace is called after it"
