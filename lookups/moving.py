"""The two databases of a stack that moves from one engine to the other: which is which, and what must not happen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from components.cloudnative_pg import KIND
from lookups.cluster import Object
from lookups.live_database import LiveDatabase
from settings import Settings
from settings.cloudnative_pg import Engine
from settings.cloudnative_pg import other_engine as the_other
from settings.commands import ops_command, pulumi_command
from settings.database import DatabaseSettings
from settings.names import Names

_PAGE: Final = "docs/runbook/database.md, Moving the database to the other engine"


@dataclass(frozen=True, kw_only=True)
class Record:
    """What holds the database, as recorded by the last `up` or a later move: a claim, or a CloudNativePG Cluster."""

    uid: str
    volume: str | None
    image: str | None = None
    """Image of PostgreSQL; None if an earlier release wrote the state."""
    kind: str = "claim"
    name: str | None = None
    """Name of the claim; None if it is that of a new stack."""

    def what(self, names: Names) -> str:
        """Kind and name of the object."""
        return f"{self.kind} {names.database if self.kind == KIND else self.name or names.database_claim}"


def latest(record: Record | None, moved: LiveDatabase | None) -> Record | None:
    """What holds the database: what the last `up` recorded or, if the data has been moved since, the target."""
    if moved is None:
        return record
    kind = KIND if moved.engine == "cloudnative-pg" else Record.kind
    if record is not None and record.kind == kind:
        return record  # from an `up` since the move, which may have accepted a loss
    return Record(uid=moved.uid, volume=None, kind=kind)


def there(names: Names, engine: Engine) -> str:
    """What holds the database of an engine, in words."""
    return f"the {'Cluster' if engine == 'cloudnative-pg' else 'claim of the StatefulSet'} {names.database}"


def other_engine(settings: Settings, database: DatabaseSettings, moved: LiveDatabase | None) -> str:
    """The problem that a database of the engine that the stack file does not name exists."""
    other = the_other(database.engine)
    what = f"database.engine is {database.engine}, and {there(settings.names, other)} is there"
    if moved is not None and moved.engine == database.engine:
        discard = ops_command("move-database", settings.stack, "--discard")
        return (
            f"{what}, from which the data was moved. If it is no longer needed: {discard}; to keep it for now, set "
            f"database.movingFrom: {other}"
        )
    move = ops_command("move-database", settings.stack, "--to", database.engine)
    return (
        f"{what}, which is the database of {settings.namespace}. To move it, set database.movingFrom: {other} as "
        f"well as the engine, run `{pulumi_command('up', settings.stack)}`, and then: {move} ({_PAGE}). To leave it "
        f"where it is, set database.engine: {other}"
    )


def find_problems(
    settings: Settings, database: DatabaseSettings, *, live: Object | Record | None, beside: Object | None
) -> Iterator[str]:
    """Problems with the pair; `live` is what holds the live database, or last did, and `beside` holds the other one."""
    if live is None:
        yield (
            f"database.movingFrom is {database.moving_from}, and {settings.namespace} has no database to move: "
            "remove it"
        )
    if beside is None and database.is_moved and database.moving_from:
        yield (
            f"database.movingFrom is {database.moving_from}, and {there(settings.names, database.moving_from)} is gone "
            f"from {settings.namespace}: the data was moved, and the old database discarded. Remove movingFrom, or "
            "`up` would make an empty one"
        )
