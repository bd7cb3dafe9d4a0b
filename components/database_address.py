"""Where the database is and who it is for: what the Database component serves and every database URL must name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from settings.cloudnative_pg import STATEFUL_SET, EngineSettings
from settings.names import Names

PORT: Final = 5432


@dataclass(frozen=True, kw_only=True)
class DatabaseAddress:
    """Host (the Service's name), port, role and database, as pods of the same namespace reach them."""

    host: str
    port: int
    user: str
    database: str

    @classmethod
    def of(cls, names: Names, engine: EngineSettings = STATEFUL_SET) -> Self:
        """That of a stack's database. CloudNativePG makes a Service of its own for the primary, `<cluster>-rw`."""
        host = f"{names.database}-rw" if engine.is_cluster else names.database
        return cls(host=host, port=PORT, user=names.database_role, database=names.database_role)

    def url(self, password: str) -> str:
        """The URL that Prisma takes. `password` must be URL-safe; nothing is escaped."""
        return f"postgresql://{self.user}:{password}@{self.host}:{self.port}/{self.database}"

    def hosts(self, namespace: str) -> frozenset[str]:
        """Every name under which pods of `namespace` reach the same host."""
        return frozenset(
            f"{self.host}{suffix}"
            for suffix in ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
        )
