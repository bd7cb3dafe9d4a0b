"""One stack of invoicetron: reads top to bottom like the drawing in the README."""

from __future__ import annotations

import gc
import os
import signal
from dataclasses import replace

# What is imported are half a million objects that stay. Collecting while they are made takes an eighth of the start.
gc.set_threshold(200_000)

import pulumi

from components.access import Access, AccessArgs
from components.app import App, AppArgs
from components.backup import Backup, BackupArgs
from components.database import DatabaseArgs
from components.delivery import Delivery, DeliveryArgs
from components.deployer import Deployer, DeployerArgs
from components.deployer_admission import DeployerAdmission, DeployerAdmissionArgs
from components.environment import Environment, EnvironmentArgs
from components.infrastructure import Infrastructure, InfrastructureArgs
from components.instance_metrics import InstanceMetrics, InstanceMetricsArgs
from components.monitoring import Monitoring, MonitoringArgs
from components.namespace_deletion import NamespaceDeletion, registered_components
from components.network_policies import NetworkPolicies, NetworkPoliciesArgs
from components.offsite import Offsite, OffsiteArgs
from components.postgres_exporter import PostgresExporter, PostgresExporterArgs
from components.pull_credentials import PullCredentials, PullCredentialsArgs
from components.repository import Repository, RepositoryArgs
from components.workloads import engine, footprint
from lookups.r2 import OUTPUTS
from lookups.stack import look_up
from lookups.volumes import OUTPUT
from providers import Providers
from settings import load_from_pulumi
from settings.bucket import ARCHIVE, COPIES

# The engine interrupts a program whose update has failed, and has said why; a traceback would bury it. Pulumi takes
# status 32 for a program that has said everything.
signal.signal(signal.SIGINT, lambda *_: os._exit(32))

settings = load_from_pulumi()
providers = Providers(settings)
found = look_up(settings, providers)
settings = found.settings
secrets, project, options = found.secrets, found.project, providers.options
components = registered_components()
database = other = backup = offsite = exporter = instance_metrics = None  # as far as the stack has them

environment = Environment("environment", EnvironmentArgs(settings=settings, workloads=footprint(settings)), options)
if settings.database and secrets.of_database:
    beside = settings.database.beside
    database_args = DatabaseArgs(
        settings=settings.database,
        environment=environment,
        secret=secrets.of_database,
        claims=found.database_claims,
        alone=beside is None,
        statements=settings.database_metrics is not None and settings.database_metrics.statements,
        wal=secrets.wal,
        wal_r2=found.r2.get(ARCHIVE),
    )
    database = engine(settings.database)("database", database_args, options)
    if beside:
        other = engine(beside)("database", replace(database_args, settings=beside), options)
pull_args = PullCredentialsArgs(settings=settings.registry, environment=environment, credentials=found.pull_credentials)
pull_credentials = PullCredentials("pull-credentials", pull_args, options)
app_args = AppArgs(
    settings=settings.app,
    environment=environment,
    hostnames=settings.access.all_hostnames,
    pull_credentials=pull_credentials,
    database=database,
    secret=secrets.of_app,
)
app = App("app", app_args, options)
access_args = AccessArgs(
    settings=settings.access,
    environment=environment,
    app=app,
    ids=found.cloudflare,
    service_token_item=secrets.service_token_item,
)
access = Access("access", access_args, options)
if settings.backup and database:
    backup_args = BackupArgs(
        settings=settings.backup,
        environment=environment,
        database=database,
        target=other if settings.database and not settings.database.is_moved else None,
    )
    backup = Backup("backup", backup_args, options)
    if settings.s3 and secrets.s3:
        offsite_args = OffsiteArgs(
            settings=settings.backup,
            s3=settings.s3,
            environment=environment,
            backup=backup,
            database=database,
            secrets=secrets.s3,
            r2=found.r2.get(COPIES),
        )
        offsite = Offsite("offsite", offsite_args, options)
if settings.monitoring and settings.database_metrics and secrets.of_exporter and database:
    exporter_args = PostgresExporterArgs(
        settings=settings.database_metrics,
        monitoring=settings.monitoring,
        environment=environment,
        database=database,
        secret=secrets.of_exporter,
    )
    exporter = PostgresExporter("postgres-exporter", exporter_args, options)
if settings.monitoring and settings.database_metrics and settings.operated_database:
    metrics_args = InstanceMetricsArgs(monitoring=settings.monitoring, environment=environment)
    instance_metrics = InstanceMetrics("instance-metrics", metrics_args, options)
network_args = NetworkPoliciesArgs(
    settings=settings,
    environment=environment,
    app=app,
    database=database,
    other=other,
    backup=backup,
    exporter=exporter,
    instance_metrics=instance_metrics,
)
NetworkPolicies("network", network_args, options)
if settings.monitoring:
    monitoring_args = MonitoringArgs(
        settings=settings,
        monitoring=settings.monitoring,
        environment=environment,
        database=database,
        backup=backup,
        offsite=offsite,
        exporter=exporter,
        instance_metrics=instance_metrics,
    )
    Monitoring("monitoring", monitoring_args, options)
if settings.delivery and project:
    deployer_args = DeployerArgs(
        settings=settings.delivery, environment=environment, app=app, backup=backup, identity=found.job_identity
    )
    deployer = Deployer("deployer", deployer_args, options)
    if settings.delivery.admission_policy:
        admission_args = DeployerAdmissionArgs(
            settings=settings.app, user=deployer.user, environment=environment, app=app, backup=backup
        )
        DeployerAdmission("deployer-admission", admission_args, options)
    delivery_args = DeliveryArgs(
        settings=settings,
        delivery=settings.delivery,
        project=project,
        deployer=deployer,
        service_token=access.service_token,
    )
    Delivery("delivery", delivery_args, options)
    if settings.repository:
        repository = Repository("repository", RepositoryArgs(settings=settings.repository, project=project), options)
        pulumi.export("mirror_key", repository.mirror_key)
        if settings.repository.infrastructure and found.infrastructure:
            infrastructure_args = InfrastructureArgs(
                settings=settings.repository.infrastructure, project=found.infrastructure
            )
            Infrastructure("infrastructure", infrastructure_args, options)
# The last to be created is the first to be deleted.
NamespaceDeletion(
    "namespace-deletion",
    context=settings.cluster.context,
    namespace=environment.namespace,
    stack=settings.stack,
    opts=pulumi.ResourceOptions(provider=providers.dynamic, depends_on=components),
)

pulumi.export("public_url", access.public_url)
pulumi.export("url", access.url)
pulumi.export("namespace", environment.namespace)
pulumi.export("database_host", database.host if database else None)
for key, r2 in settings.r2.items():
    pulumi.export(OUTPUTS[key], r2.bucket)
pulumi.export(OUTPUT, database.identity if database else None)
pulumi.export("image", app.image)
pulumi.export("follow_rollout", app.follow_rollout)
