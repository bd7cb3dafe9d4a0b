"""What the app's pipeline needs: its account and permissions in the cluster, and its variables in GitLab."""

from __future__ import annotations

from pulumi import ResourceOptions

from components.access import Access
from components.app import App
from components.backup import Backup
from components.delivery import Delivery, DeliveryArgs
from components.deployer import Deployer, DeployerArgs
from components.deployer_admission import DeployerAdmission, DeployerAdmissionArgs
from components.environment import Environment
from lookups.stack import Found


def create_pipeline(
    found: Found, *, environment: Environment, app: App, access: Access, backup: Backup | None, opts: ResourceOptions
) -> None:
    """Creates what the section `delivery` asks for; nothing if the stack has none."""
    settings, project = found.settings.delivery, found.project
    if settings is None or project is None:
        return
    deployer_args = DeployerArgs(
        settings=settings, environment=environment, app=app, backup=backup, identity=found.job_identity
    )
    deployer = Deployer("deployer", deployer_args, opts)
    if settings.admission_policy:
        admission_args = DeployerAdmissionArgs(
            settings=found.settings.app, user=deployer.user, environment=environment, app=app, backup=backup
        )
        DeployerAdmission("deployer-admission", admission_args, opts)
    delivery_args = DeliveryArgs(
        settings=found.settings,
        delivery=settings,
        project=project,
        deployer=deployer,
        service_token=access.service_token,
    )
    Delivery("delivery", delivery_args, opts)
