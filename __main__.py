"""One stack of invoicetron: reads top to bottom like the drawing in the README."""

from __future__ import annotations

import gc
import os
import signal

import pulumi

import arguments
from components.access import Access
from components.app import App
from components.backup import Backup
from components.database import Database
from components.delivery import Delivery
from components.deployer import Deployer
from components.environment import Environment
from components.monitoring import Monitoring
from components.network_policies import NetworkPolicies
from components.pull_credentials import PullCredentials
from components.repository import Repository
from lookups.cluster import connect
from lookups.deployed import check_cluster
from lookups.gitlab import read_project
from lookups.ownership import check_ownership
from lookups.secrets import read_secrets
from lookups.volumes import OUTPUT, check_volumes
from providers import Providers
from settings import load_from_pulumi

# The SDKs are half a million objects that stay. Collecting while they load takes an eighth of the program's start.
gc.set_threshold(200_000)

# The engine interrupts a program whose update has failed, and has said why; a traceback would bury it. Pulumi takes
# status 32 for a program that has said everything.
signal.signal(signal.SIGINT, lambda *_: os._exit(32))

settings = load_from_pulumi()
providers = Providers(settings)
cluster = connect(settings.cluster.context)
check_cluster(settings, cluster)
project = read_project(settings, settings.delivery, providers.gitlab) if settings.delivery else None
ids = arguments.look_up_public_access(settings)
check_ownership(settings, cluster, arguments.claims(settings, project, ids))
# After the owners: an item of another stack's would hide what else is not this stack's.
secrets = read_secrets(settings, providers.onepassword)
check_volumes(settings, cluster)
on_cluster = providers.use("kubernetes", *(["dynamic"] if settings.protect else []))
everywhere = providers.use("kubernetes", *(["gitlab", "dynamic"] if project else []))

environment = Environment("environment", arguments.for_environment(settings), on_cluster)
database = Database("database", arguments.for_database(settings, secrets, environment), on_cluster)
for_pulling = arguments.for_pull_credentials(settings, secrets, environment, project)
credentials = PullCredentials("pull-credentials", for_pulling, everywhere)
app = App("app", arguments.for_app(settings, secrets, environment, credentials, database), on_cluster)
for_access = arguments.for_access(settings, ids, environment, app)
access = Access("access", for_access, providers.use("kubernetes", *(["cloudflare", "dynamic"] if ids else [])))
for_backup = arguments.for_backup(settings, settings.backup, environment, database) if settings.backup else None
backup = Backup("backup", for_backup, on_cluster) if for_backup else None
NetworkPolicies("network", arguments.for_network_policies(settings, environment, app, database, backup), on_cluster)
if settings.monitoring:
    watched = arguments.for_monitoring(settings.monitoring, environment, access, database, backup)
    Monitoring("monitoring", watched, on_cluster)
if access.public_url:
    pulumi.export("public_url", access.public_url)
if settings.delivery and project:
    deployer = Deployer("deployer", arguments.for_deployer(environment, app, backup), on_cluster)
    for_delivery = arguments.for_delivery(settings, settings.delivery, project, access, deployer)
    Delivery("delivery", for_delivery, everywhere)
if settings.repository and project:
    repository = Repository("repository", arguments.for_repository(settings.repository, project), everywhere)
    pulumi.export("mirror_key", repository.mirror_key)

outputs = {
    "url": access.url,
    "namespace": environment.namespace,
    "database_host": database.host,
    "image": app.image,
    OUTPUT: database.identity,
}
for name, value in {**outputs, "follow_rollout": app.follow_rollout}.items():
    pulumi.export(name, value)
