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
from settings.database import DatabaseSettings


def engine(database: DatabaseSettings) -> type[Database | DatabaseCluster]:
    """The component that runs the database."""
    return DatabaseCluster if database.is_cluster else Database


def _of_databases(database: DatabaseSettings | None) -> Footprint:
    """The live one's and, during a move, the other's."""
    there = [one for one in (database, database.beside if database else None) if one]
    return Footprint.total([engine(one).footprint(one) for one in there])


def footprint(settings: Settings) -> Footprint:
    """What all pods of the stack take up at the same time, at their most."""
    return Footprint.total(
        [
            _of_databases(settings.database),
            App.footprint(settings.app, migrates=settings.database is not None),
            Backup.footprint(settings.backup),
            Offsite.footprint(settings.backup),
            PostgresExporter.footprint(None if settings.operated_database else settings.monitoring),
        ]
    )
