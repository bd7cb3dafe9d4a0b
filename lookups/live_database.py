"""Which of two databases is the live one, while a stack moves from one engine to the other.

`python -m ops move-database` writes it on the namespace, at the one moment at which the data has been compared and the
app has not been started again. Until then the live one is that of the engine that the stack moves from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from lookups.cluster import Cluster, Object
from settings import Settings
from settings.cloudnative_pg import Engine
from settings.names import PROGRAM

ANNOTATION: Final = f"ops.{PROGRAM}/live-database"
"""Of the namespace: `<engine>/<UID of what holds the database>`."""
_ENGINES: Final[dict[str, Engine]] = {"statefulset": "statefulset", "cloudnative-pg": "cloudnative-pg"}


@dataclass(frozen=True, kw_only=True)
class LiveDatabase:
    """To what the last move has led."""

    engine: Engine
    uid: str
    """Of the claim, or of the Cluster."""

    def __str__(self) -> str:
        return f"{self.engine}/{self.uid}"

    @classmethod
    def of(cls, namespace: Object | None) -> Self | None:
        """What the namespace says; None where no move of it has got that far."""
        said = ((namespace or {"metadata": {}})["metadata"].get("annotations") or {}).get(ANNOTATION, "")
        engine, _, uid = said.partition("/")
        return cls(engine=_ENGINES[engine], uid=uid) if engine in _ENGINES else None


def with_live_database(settings: Settings, cluster: Cluster) -> Settings:
    """The settings in which `database` is the live one and `database.beside` the other, where the stack moves."""
    database = settings.database
    if database is None or database.moving_from is None:
        return settings
    moved = LiveDatabase.of(cluster.get("v1", "namespaces", settings.namespace))
    live = moved.engine if moved else database.moving_from
    return settings.model_copy(update={"database": database.with_live(live)})
