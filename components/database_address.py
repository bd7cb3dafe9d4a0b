"""Address, role and name of the database: what the Database component serves and every database URL must name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from settings.cloudnative_pg import STATEFUL_SET, EngineSettings
from settings.names import Names

PORT: Final = 5432
AUTHORITY: Final = "/etc/database-tls/ca.crt"
"""Path of the CA certificate of the server, with `tls`, in the pods of the app and the database's other clients."""


@dataclass(frozen=True, kw_only=True)
class DatabaseAddress:
    """Host (the Service's name), port, role and database, as pods of the same namespace reach them."""

    host: str
    port: int
    user: str
    database: str
    tls: bool = False
    """Whether the server has a certificate signed by `AUTHORITY`."""

    @classmethod
    def of(cls, names: Names, engine: EngineSettings = STATEFUL_SET) -> Self:
        """The address of a stack's database. CloudNativePG creates its own Service for the primary, `<cluster>-rw`."""
        host = f"{names.database}-rw" if engine.is_cluster else names.database
        user = database = names.database_role
        return cls(host=host, port=PORT, user=user, database=database, tls=engine.tls is not None)

    def url(self, password: str) -> str:
        """The URL for Prisma. `password` must be URL-safe; nothing is escaped.

        With TLS, node-postgres and libpq verify the server's certificate. Prisma's own engine, which runs migrations,
        knows neither parameter: it encrypts, but verifies nothing (docs/decisions/32-database-tls.md).
        """
        query = f"?sslmode=verify-full&sslrootcert={AUTHORITY}" if self.tls else ""
        return f"postgresql://{self.user}:{password}@{self.host}:{self.port}/{self.database}{query}"

    def hosts(self, namespace: str) -> frozenset[str]:
        """Every name under which pods of `namespace` reach the same host."""
        return frozenset(
            f"{self.host}{suffix}"
            for suffix in ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
        )
