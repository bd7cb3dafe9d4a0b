"""Where the database is and who it is for: what the Database component serves and every database URL must name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from settings.cloudnative_pg import STATEFUL_SET, EngineSettings
from settings.names import Names

PORT: Final = 5432
AUTHORITY: Final = "/etc/database-tls/ca.crt"
"""Where the app's and the database's other clients have the certificate of who signs the server's, with `tls`."""


@dataclass(frozen=True, kw_only=True)
class DatabaseAddress:
    """Host (the Service's name), port, role and database, as pods of the same namespace reach them."""

    host: str
    port: int
    user: str
    database: str
    tls: bool = False
    """Whether the server has a certificate of `AUTHORITY`."""

    @classmethod
    def of(cls, names: Names, engine: EngineSettings = STATEFUL_SET) -> Self:
        """That of a stack's database. CloudNativePG makes a Service of its own for the primary, `<cluster>-rw`."""
        host = f"{names.database}-rw" if engine.is_cluster else names.database
        user = database = names.database_role
        return cls(host=host, port=PORT, user=user, database=database, tls=engine.tls is not None)

    def url(self, password: str) -> str:
        """The URL that Prisma takes. `password` must be URL-safe; nothing is escaped.

        With TLS, node-postgres and libpq check the server's certificate. Prisma's own engine, which migrates, knows
        neither parameter: it encrypts, and checks nothing (docs/decisions/32-database-tls.md).
        """
        query = f"?sslmode=verify-full&sslrootcert={AUTHORITY}" if self.tls else ""
        return f"postgresql://{self.user}:{password}@{self.host}:{self.port}/{self.database}{query}"

    def hosts(self, namespace: str) -> frozenset[str]:
        """Every name under which pods of `namespace` reach the same host."""
        return frozenset(
            f"{self.host}{suffix}"
            for suffix in ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local")
        )
