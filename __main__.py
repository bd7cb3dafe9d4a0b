"""One stack of invoicetron: reads top to bottom like the drawing in the README."""

from __future__ import annotations

import gc
import os
import signal

import pulumi

from components.access import Access, AccessArgs
from components.app import App, AppArgs
from components.backup import Backup, BackupArgs
from components.cloudnative_pg import DatabaseCluster
from components.database import Database, DatabaseArgs
from components.delivery import Delivery, DeliveryArgs
from components.deployer import Deployer, DeployerArgs
from components.deployer_admission import DeployerAdmission, DeployerAdmissionArgs
from components.environment import Environment, EnvironmentArgs
from components.infrastructure import Infrastructure, InfrastructureArgs
from components.monitoring import Monitoring, MonitoringArgs
from components.namespace_deletion import NamespaceDeletion
from components.network_policies import NetworkPolicies, NetworkPoliciesArgs
from components.offsite import Offsite, OffsiteArgs
from components.postgres_exporter import PostgresExporter, PostgresExporterArgs
from components.pull_credentials import PullCredentials, PullCredentialsArgs, choose
from components.repository import Repository, RepositoryArgs
from lookups.stack import look_up
from lookups.volumes import OUTPUT
from providers import Providers
from settings import load_from_pulumi

# The SDKs are half a million objects that stay. Collecting while they load takes an eighth of the program's start.
gc.set_threshold(200_000)
# The engine interrupts a program whose update has failed, and has said why; a traceback would bury it. Pulumi takes
# status 32 for a program that has said everything.
signal.signal(signal.SIGINT, lambda *_: os._exit(32))

settings = load_from_pulumi()
providers = Providers(settings)
found = look_up(settings, providers)
secrets, project, options = found.secrets, found.project, providers.options

engine = DatabaseCluster if settings.operated_database else Database
workloads = [
    engine.footprint(settings.database),
    App.footprint(settings.app, migrates=settings.database is not None),
    Backup.footprint(settings.backup),
    Offsite.footprint(settings.backup),
    PostgresExporter.footprint(settings.monitoring),
]
environment = Environment("environment", EnvironmentArgs(settings=settings, workloads=workloads), options)
database = (
    engine(
        "database",
        DatabaseArgs(settings=settings.database, environment=environment, secret=secrets.of_database),
        options,
    )
    if settings.database
    else None
)
pull_credentials = PullCredentials(
    "pull-credentials",
    PullCredentialsArgs(
        settings=settings.registry, environment=environment, credentials=choose(settings, secrets, project)
    ),
    options,
)
app = App(
    "app",
    AppArgs(
        settings=settings.app,
        environment=environment,
        hostnames=settings.access.all_hostnames,
        pull_credentials=pull_credentials,
        database=database,
        secret=secrets.of_app,
    ),
    options,
)
access = Access(
    "access",
    AccessArgs(
        settings=settings.access,
        environment=environment,
        service=app.service,
        port=app.port,
        pods=app.pods,
        ids=found.cloudflare,
    ),
    options,
)
backup = (
    Backup("backup", BackupArgs(settings=settings.backup, environment=environment, database=database), options)
    if settings.backup and database
    else None
)
offsite = (
    Offsite(
        "offsite",
        OffsiteArgs(
            settings=settings.backup, environment=environment, backup=backup, database=database, secrets=secrets.s3
        ),
        options,
    )
    if settings.backup and database and backup and secrets.s3
    else None
)
exporter = (
    PostgresExporter(
        "postgres-exporter",
        PostgresExporterArgs(
            settings=settings.database_metrics,
            monitoring=settings.monitoring,
            environment=environment,
            database=database,
            secret=secrets.of_exporter,
        ),
        options,
    )
    if settings.monitoring and settings.database_metrics and database
    else None
)
network = NetworkPolicies(
    "network",
    NetworkPoliciesArgs(
        settings=settings, environment=environment, app=app, database=database, backup=backup, exporter=exporter
    ),
    options,
)
made: list[pulumi.Resource | None] = [environment, database, pull_credentials, app, access, backup, offsite]
made += [exporter, network]
if settings.monitoring:
    monitoring = Monitoring(
        "monitoring",
        MonitoringArgs(
            settings=settings.monitoring,
            environment=environment,
            health_urls=settings.health_urls,
            runbook=settings.alerts_page,
            database=database,
            backup=backup,
            offsite=offsite,
            exporter=exporter,
            token_expires=settings.delivery.pull_credentials.expires if settings.delivery else None,
        ),
        options,
    )
    made.append(monitoring)
if settings.delivery and project:
    deployer = Deployer("deployer", DeployerArgs(environment=environment, app=app, backup=backup), options)
    if settings.delivery.admission_policy:
        admission = DeployerAdmissionArgs(settings=settings.app, environment=environment, app=app, backup=backup)
        made.append(DeployerAdmission("deployer-admission", admission, options))
    for_delivery = DeliveryArgs(settings=settings, delivery=settings.delivery, project=project, deployer=deployer)
    made += [deployer, Delivery("delivery", for_delivery, options)]
    if settings.repository:
        repository = Repository("repository", RepositoryArgs(settings=settings.repository, project=project), options)
        pulumi.export("mirror_key", repository.mirror_key)
        made.append(repository)
        if settings.repository.infrastructure and found.infrastructure:
            own = InfrastructureArgs(settings=settings.repository.infrastructure, project=found.infrastructure)
            made.append(Infrastructure("infrastructure", own, options))
NamespaceDeletion(
    "namespace-deletion",
    context=settings.cluster.context,
    namespace=environment.namespace,
    stack=settings.stack,
    # So it goes before all of them.
    opts=pulumi.ResourceOptions(provider=providers.dynamic, depends_on=[one for one in made if one]),
)

if access.public_url:
    pulumi.export("public_url", access.public_url)
pulumi.export("url", access.url)
pulumi.export("namespace", environment.namespace)
if database:
    pulumi.export("database_host", database.host)
    pulumi.export(OUTPUT, database.identity)
pulumi.export("image", app.image)
pulumi.export("follow_rollout", app.follow_rollout)
