"""Which of the two databases is live while a stack moves from one engine to the other.

`python -m ops move-database` records it on the namespace at the one moment when the data has been compared and the app
has not been started again. Until then, the live database is that of the engine that the stack moves from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from lookups.cluster import Cluster, Object
from settings import Settings
from settings.cloudnative_pg import Engine
from settings.names import PROGRAM

ANNOTATION: Final = f"ops.{PROGRAM}/live-database"
"""Annotation on the namespace: `<engine>/<UID of what holds the database>`."""
_ENGINES: Final[dict[str, Engine]] = {"statefulset": "statefulset", "cloudnative-pg": "cloudnative-pg"}


@dataclass(frozen=True, kw_only=True)
class LiveDatabase:
    """The result of the last move."""

    engine: Engine
    uid: str
    """UID of the claim or of the Cluster."""

    def __str__(self) -> str:
        return f"{self.engine}/{self.uid}"

    @classmethod
    def of(cls, namespace: Object | None) -> Self | None:
        """What the namespace's annotation says; None if no move has got that far."""
        said = ((namespace or {"metadata": {}})["metadata"].get("annotations") or {}).get(ANNOTATION, "")
        engine, _, uid = said.partition("/")
        return cls(engine=_ENGINES[engine], uid=uid) if engine in _ENGINES else None


def with_live_database(settings: Settings, cluster: Cluster) -> Settings:
    """The settings in which, during a move, `database` is the live database and `database.beside` the other one."""
    database = settings.database
    if database is None or database.moving_from is None:
        return settings
    moved = LiveDatabase.of(cluster.get("v1", "namespaces", settings.namespace))
    live = moved.engine if moved else database.moving_from
    return settings.model_copy(update={"database": database.with_live(live)})
