"""The backups on the backup volume, and their off-site copies."""

from __future__ import annotations

from dataclasses import dataclass

from pulumi import ResourceOptions

from components.backup import Backup, BackupArgs
from components.databases import Databases
from components.environment import Environment
from components.offsite import Offsite, OffsiteArgs
from lookups.stack import Found
from settings.bucket import COPIES


@dataclass(frozen=True, kw_only=True)
class Backups:
    """The components; each is None if the stack does not have it."""

    backup: Backup | None = None
    offsite: Offsite | None = None


def create_backups(found: Found, environment: Environment, databases: Databases, opts: ResourceOptions) -> Backups:
    """Creates what the section `backup` asks for."""
    settings, database = found.settings.backup, databases.live
    if settings is None or database is None:
        return Backups()
    args = BackupArgs(settings=settings, environment=environment, database=database, target=databases.target)
    backup = Backup("backup", args, opts)
    if settings.s3 is None or found.secrets.s3 is None:
        return Backups(backup=backup)
    offsite_args = OffsiteArgs(
        settings=settings,
        s3=settings.s3,
        environment=environment,
        backup=backup,
        database=database,
        secrets=found.secrets.s3,
        r2=found.r2.get(COPIES),
    )
    return Backups(backup=backup, offsite=Offsite("offsite", offsite_args, opts))
