"""One stack of invoicetron: reads top to bottom like the drawing in the README."""

from __future__ import annotations

import gc
import os
import signal

# The imports create half a million objects that stay. Collecting garbage meanwhile takes an eighth of the start-up.
gc.set_threshold(200_000)

import pulumi

from components.access import Access, AccessArgs
from components.app import App, AppArgs
from components.backups import create_backups
from components.database_metrics import create_database_metrics
from components.databases import create_databases
from components.environment import Environment, EnvironmentArgs
from components.infrastructure import Infrastructure, InfrastructureArgs
from components.monitoring import Monitoring, MonitoringArgs
from components.namespace_deletion import NamespaceDeletion, registered_components
from components.network_policies import NetworkPolicies, NetworkPoliciesArgs
from components.pipeline import create_pipeline
from components.pull_credentials import PullCredentials, PullCredentialsArgs
from components.repository import Repository, RepositoryArgs
from components.workloads import footprint
from lookups.ownership import MIRROR_KEY
from lookups.r2 import OUTPUTS
from lookups.stack import look_up
from lookups.volumes import OUTPUT
from providers import Providers
from settings import load_from_pulumi

# When an update fails, the engine reports why and interrupts the program; a traceback would bury that report. Exit
# status 32 tells Pulumi that the program has already reported everything.
signal.signal(signal.SIGINT, lambda *_: os._exit(32))

settings = load_from_pulumi()
providers = Providers(settings)
found = look_up(settings, providers)
settings, project, options = found.settings, found.project, providers.options
components = registered_components()

environment = Environment("environment", EnvironmentArgs(settings=settings, workloads=footprint(settings)), options)
databases = create_databases(found, environment, options)
pull_args = PullCredentialsArgs(settings=settings.registry, environment=environment, credentials=found.pull_credentials)
pull_credentials = PullCredentials("pull-credentials", pull_args, options)
app_args = AppArgs(
    settings=settings.app,
    environment=environment,
    hostnames=settings.access.all_hostnames,
    pull_credentials=pull_credentials,
    database=databases.live,
    secret=found.secrets.of_app,
)
app = App("app", app_args, options)
access_args = AccessArgs(
    settings=settings.access,
    environment=environment,
    app=app,
    ids=found.cloudflare,
    service_token_item=found.secrets.service_token_item,
)
access = Access("access", access_args, options)
backups = create_backups(found, environment, databases, options)
metrics = create_database_metrics(found, environment, databases.live, options)
network_args = NetworkPoliciesArgs(
    settings=settings, environment=environment, app=app, databases=databases, backup=backups.backup, metrics=metrics
)
NetworkPolicies("network", network_args, options)
if settings.monitoring:
    monitoring_args = MonitoringArgs(
        settings=settings,
        monitoring=settings.monitoring,
        environment=environment,
        database=databases.live,
        backups=backups,
        metrics=metrics,
    )
    Monitoring("monitoring", monitoring_args, options)
create_pipeline(found, environment=environment, app=app, access=access, backup=backups.backup, opts=options)
if settings.repository and project:
    repository = Repository("repository", RepositoryArgs(settings=settings.repository, project=project), options)
    pulumi.export(MIRROR_KEY, repository.mirror_key)
    if settings.repository.infrastructure and found.infrastructure:
        infrastructure_args = InfrastructureArgs(
            settings=settings.repository.infrastructure, project=found.infrastructure
        )
        Infrastructure("infrastructure", infrastructure_args, options)
# The last to be created is the first to be deleted: while it is protected, nothing is, even without a preview.
NamespaceDeletion(
    "namespace-deletion",
    context=settings.cluster.context,
    namespace=environment.namespace,
    stack=settings.stack,
    opts=pulumi.ResourceOptions(provider=providers.dynamic, depends_on=components, protect=settings.protect),
)

pulumi.export("public_url", access.public_url)
pulumi.export("url", access.url)
pulumi.export("namespace", environment.namespace)
pulumi.export("database_host", databases.live.host if databases.live else None)
for key, r2 in settings.r2.items():
    pulumi.export(OUTPUTS[key], r2.bucket)
pulumi.export(OUTPUT, databases.live.identity if databases.live else None)
pulumi.export("image", app.image)
pulumi.export("follow_rollout", app.follow_rollout)
