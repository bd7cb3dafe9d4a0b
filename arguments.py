"""What each component of the stack is given: settings, secrets, and what the components before it put out.

Components know neither the settings nor each other; `__main__.py` says who feeds whom, and this says with what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from components.access import Access, AccessArgs
from components.app import App, AppArgs
from components.backup import Backup, BackupArgs
from components.database import Database, DatabaseArgs
from components.delivery import DeliveryArgs, variables
from components.deployer import Deployer, DeployerArgs
from components.environment import Environment, EnvironmentArgs
from components.monitoring import MonitoringArgs
from components.network_policies import NetworkPoliciesArgs
from components.ownership import Owner
from components.pull_credentials import Issue, Login, PullCredentials, PullCredentialsArgs
from components.repository import RepositoryArgs
from lookups.deploy_tokens import token_name
from lookups.gitlab import GitLabProject
from lookups.ownership import Claim
from lookups.secrets import StackSecrets
from settings import Settings
from settings.backup import BackupSettings
from settings.delivery import DeliverySettings
from settings.errors import PROJECT
from settings.images import image_repository
from settings.monitoring import MonitoringSettings
from settings.repository import RepositorySettings

if TYPE_CHECKING:
    from lookups.cloudflare import CloudflareIds


def for_environment(settings: Settings) -> EnvironmentArgs:
    """The quota holds what the workloads that the stack has take up."""
    return EnvironmentArgs(
        namespace=settings.namespace,
        workloads=[
            Database.footprint(settings.database.resources),
            App.footprint(settings.app.resources),
            *(
                [Backup.footprint(settings.backup.resources, settings.backup.drill_resources)]
                if settings.backup
                else []
            ),
        ],
        protect=settings.protect,
    )


def for_database(settings: Settings, secrets: StackSecrets, environment: Environment) -> DatabaseArgs:
    """The database restarts with its password."""
    return DatabaseArgs(
        namespace=environment.namespace,
        image=settings.database.image,
        storage_class=settings.database.storage_class,
        size=settings.database.size,
        resources=settings.database.resources,
        password=secrets.postgres_password,
        password_checksum=secrets.checksum("postgres_password"),
        priority_class=settings.cluster.priority_class,
        protect=settings.protect,
        context=settings.cluster.context,
    )


def for_pull_credentials(
    settings: Settings, secrets: StackSecrets, environment: Environment, project: GitLabProject | None
) -> PullCredentialsArgs:
    """The credentials that 1Password holds, or a deploy token of the stack's own."""
    return PullCredentialsArgs(
        namespace=environment.namespace,
        server=settings.registry.server,
        credentials=_pull_credentials(settings, secrets, project),
    )


def _pull_credentials(settings: Settings, secrets: StackSecrets, project: GitLabProject | None) -> Login | Issue:
    delivery = settings.delivery
    if project and delivery and (pull := delivery.pull_credentials).expires and secrets.registry_item:
        return Issue(
            gitlab=delivery.gitlab,
            project=project.id,
            name=token_name(settings.stack),
            owner=f"{Owner(PROJECT, settings.stack)}",
            expires=pull.expires,
            item=secrets.registry_item,
        )
    if secrets.registry_username is None or secrets.registry_password is None:
        raise ValueError("read_secrets gave neither credentials to pull with nor an item to write issued ones to")
    return Login(username=secrets.registry_username, password=secrets.registry_password)


def for_app(
    settings: Settings,
    secrets: StackSecrets,
    environment: Environment,
    pull_credentials: PullCredentials,
    database: Database,
) -> AppArgs:
    """The app waits for the database, rolls with its secrets, and takes logins from every hostname of the stack."""
    return AppArgs(
        namespace=environment.namespace,
        image=settings.app.image,
        resources=settings.app.resources,
        hostnames=settings.access.all_hostnames,
        pull_secret=pull_credentials.secret_name,
        database_host=database.host,
        database_port=database.port,
        database_url=secrets.database_url,
        better_auth_secret=secrets.better_auth_secret,
        secrets_checksum=secrets.checksum("database_url", "better_auth_secret"),
        priority_class=settings.cluster.priority_class,
    )


def for_access(settings: Settings, ids: CloudflareIds | None, environment: Environment, app: App) -> AccessArgs:
    """Route and public hostnames lead to the app's Service, whatever it and its namespace are called."""
    return AccessArgs(
        settings=settings.access,
        owner=Owner(PROJECT, settings.stack),
        namespace=environment.namespace,
        service=app.service,
        port=app.port,
        pods=app.pods,
        ids=ids,
    )


def look_up_public_access(settings: Settings) -> CloudflareIds | None:
    """The ids of what the stack's public side refers to, checked; None where it has none."""
    if settings.access.public is None:
        return None
    from lookups.cloudflare import look_up  # noqa: PLC0415 - brings httpx, which dev does without

    return look_up(settings.access.public)


def claims(settings: Settings, project: GitLabProject | None, ids: CloudflareIds | None) -> list[Claim]:
    """What other stacks own of what this one would make, as the vendors' look-ups saw it."""
    found = list(project.foreign) if project else []
    if settings.access.public and ids:
        from lookups.cloudflare_owner import foreign  # noqa: PLC0415 - as above

        found += foreign(settings.access.public, ids, Owner(PROJECT, settings.stack))
    return found


def for_network_policies(
    settings: Settings, environment: Environment, app: App, database: Database, backup: Backup | None
) -> NetworkPoliciesArgs:
    """Every policy names both ends, so that none can be forgotten when one of them moves."""
    public, monitoring = settings.access.public, settings.monitoring
    return NetworkPoliciesArgs(
        namespace=environment.namespace,
        app_pods=app.pods,
        app_port=app.port,
        migration_pods=app.migration_pods,
        database_pods=database.pods,
        database_port=database.port,
        backup_pods=backup.pods if backup else None,
        app_egress=settings.app.egress,
        prober_namespace=monitoring.prober_namespace if monitoring else None,
        cloudflared=(public.cloudflared.namespace, public.cloudflared.pod_labels) if public else None,
    )


def for_backup(settings: Settings, backup: BackupSettings, environment: Environment, database: Database) -> BackupArgs:
    """The database's own image: pg_dump must be of the server's version."""
    return BackupArgs(
        namespace=environment.namespace,
        image=settings.database.image,
        database_host=database.host,
        database_port=database.port,
        database_pods=database.pods,
        database_secret=database.secret,
        database_size=settings.database.size,
        schedule=backup.schedule,
        drill_schedule=backup.drill_schedule,
        time_zone=backup.time_zone,
        storage_class=backup.storage_class,
        size=backup.size,
        nfs=backup.nfs,
        retention=backup.retention,
        resources=backup.resources,
        drill_resources=backup.drill_resources,
        protect=settings.protect,
        context=settings.cluster.context,
    )


def for_monitoring(
    monitoring: MonitoringSettings,
    environment: Environment,
    access: Access,
    database: Database,
    backup: Backup | None,
) -> MonitoringArgs:
    """The app as people reach it, and whatever of the stack's can fill up or be missed."""
    return MonitoringArgs(
        namespace=environment.namespace,
        health_urls=[pulumi.Output.concat(url, App.health_path) for url in access.urls],
        prober=monitoring.prober,
        labels=monitoring.labels,
        runbook=monitoring.runbook,
        claims=[database.claim, *(backup.watched_claims if backup else [])],
        backup=backup.backup if backup else None,
        drill=backup.drill if backup else None,
    )


def for_deployer(environment: Environment, app: App, backup: Backup | None) -> DeployerArgs:
    """The pipeline takes a backup, where the stack has any, and then migrates."""
    templates = [app.migration, *([backup.backup] if backup else [])]
    return DeployerArgs(namespace=environment.namespace, templates=templates)


def for_delivery(
    settings: Settings, delivery: DeliverySettings, project: GitLabProject, access: Access, deployer: Deployer
) -> DeliveryArgs:
    """What the pipeline would otherwise have to write a second time."""
    repository = settings.repository
    protected_here = {project.default_branch, repository.develop_branch} if repository else set()
    return DeliveryArgs(
        owner=Owner(PROJECT, settings.stack),
        project=project,
        environment=delivery.environment.name,
        tier=delivery.environment.tier,
        branch_protected=delivery.branch in protected_here or project.protects(delivery.branch),
        url=settings.access.people_url,
        variables=variables(
            token=deployer.token,
            api_url=settings.cluster.api_url,
            certificate_authority=deployer.certificate_authority,
            namespace=settings.namespace,
            url=settings.access.people_url,
            image=image_repository(settings.app.image),
            health_url=pulumi.Output.concat(access.url, App.health_path),
        ),
    )


def for_repository(repository: RepositorySettings, project: GitLabProject) -> RepositoryArgs:
    """What both stacks share."""
    return RepositoryArgs(
        project=project,
        develop_branch=repository.develop_branch,
        mirror=repository.mirror,
        host_keys=repository.host_keys,
        protected_environments=repository.protected_environments,
    )
