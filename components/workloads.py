"""The footprint of all workloads of a stack, for the quota."""

from __future__ import annotations

from components.app import App
from components.backup import Backup
from components.databases import databases_footprint
from components.offsite import Offsite
from components.pods import Footprint
from components.postgres_exporter import PostgresExporter
from settings import Settings


def footprint(settings: Settings) -> Footprint:
    """The most that all pods of the stack use at the same time."""
    return Footprint.total(
        [
            databases_footprint(settings.database),
            App.footprint(settings.app, migrates=settings.database is not None),
            Backup.footprint(settings.backup),
            Offsite.footprint(settings.backup),
            PostgresExporter.footprint(None if settings.operated_database else settings.monitoring),
        ]
    )
