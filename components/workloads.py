"""What a stack's workloads are: the engine of its database, and the footprint of each, which the quota adds up."""

from __future__ import annotations

from components.app import App
from components.backup import Backup
from components.cloudnative_pg import DatabaseCluster
from components.database import Database
from components.offsite import Offsite
from components.pods import Footprint
from components.postgres_exporter import PostgresExporter
from settings import Settings


def engine(settings: Settings) -> type[Database | DatabaseCluster]:
    """The component that runs the database."""
    return DatabaseCluster if settings.operated_database else Database


def footprint(settings: Settings) -> Footprint:
    """What all pods of the stack take up at the same time, at their most."""
    return Footprint.total(
        [
            engine(settings).footprint(settings.database),
            App.footprint(settings.app, migrates=settings.database is not None),
            Backup.footprint(settings.backup),
            Offsite.footprint(settings.backup),
            PostgresExporter.footprint(settings.monitoring),
        ]
    )
