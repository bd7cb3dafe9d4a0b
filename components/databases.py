"""The stack's database and, during a move to the other engine, the second one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pulumi import ResourceOptions

from components.cloudnative_pg import DatabaseCluster
from components.database import Database, DatabaseArgs
from components.database_wires import DatabaseWires
from components.environment import Environment
from components.pods import Footprint
from lookups.stack import Found
from settings.bucket import ARCHIVE
from settings.database import DatabaseSettings


@dataclass(frozen=True, kw_only=True)
class Databases:
    """The databases; each is None if the stack does not have it."""

    live: DatabaseWires | None = None
    """The database that the app uses."""
    other: DatabaseWires | None = None
    """The other engine's database during a move, both before and after the data is moved."""
    target: DatabaseWires | None = None
    """The same as `other`, until `ops move-database` has filled it."""


def create_databases(found: Found, environment: Environment, opts: ResourceOptions) -> Databases:
    """Creates what the section `database` asks for. The two databases share their Pulumi name and differ in type."""
    settings, secret, metrics = found.settings.database, found.secrets.of_database, found.settings.database_metrics
    if settings is None or secret is None:
        return Databases()
    args = DatabaseArgs(
        settings=settings,
        environment=environment,
        secret=secret,
        claims=found.database_claims,
        alone=settings.beside is None,
        statements=metrics is not None and metrics.statements,
        wal=found.secrets.wal,
        wal_r2=found.r2.get(ARCHIVE),
    )
    live = _engine(settings)("database", args, opts)
    if settings.beside is None:
        return Databases(live=live)
    other = _engine(settings.beside)("database", replace(args, settings=settings.beside), opts)
    return Databases(live=live, other=other, target=None if settings.is_moved else other)


def databases_footprint(settings: DatabaseSettings | None) -> Footprint:
    """The footprint of the pods of both databases."""
    there = [one for one in (settings, settings.beside if settings else None) if one]
    return Footprint.total([_engine(one).footprint(one) for one in there])


def _engine(settings: DatabaseSettings) -> type[Database | DatabaseCluster]:
    return DatabaseCluster if settings.is_cluster else Database
