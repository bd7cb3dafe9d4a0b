"""What CloudNativePG's instance manager does to its server's roles, those of `initdb` and `managed`.

Follows CloudNativePG 1.27: pkg/management/postgres/initdb.go and internal/management/controller/roles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from rehearsal.pods.postgres import PostgresServer
from settings.images import postgres_major

SUPERUSER: Final = "postgres"
"""The superuser that `initdb` creates; nobody has its password."""
_ATTRIBUTES: Final = ("superuser", "login", "createdb", "createrole", "replication", "bypassrls")


def database(cluster: Mapping[str, Any]) -> str:
    """The application's database."""
    name: str = _bootstrap(cluster)["database"]
    return name


def host(cluster: Mapping[str, Any]) -> str:
    """The Service that leads to the primary."""
    return f"{cluster['metadata']['name']}-rw"


def major(cluster: Mapping[str, Any]) -> int:
    """The major version of the Cluster's data: what the operator has recorded, or before that, its initial image's."""
    noted: int | None = (cluster.get("status", {}).get("pgDataImageInfo") or {}).get("majorVersion")
    return noted or postgres_major(cluster["spec"]["imageName"])


def is_recovered(cluster: Mapping[str, Any]) -> bool:
    """Whether the Cluster was created from an archive."""
    return "recovery" in cluster["spec"]["bootstrap"]


def _bootstrap(cluster: Mapping[str, Any]) -> Mapping[str, Any]:
    (found,) = cluster["spec"]["bootstrap"].values()
    section: Mapping[str, Any] = found
    return section


def reconcile(server: PostgresServer, cluster: Mapping[str, Any], secret: Callable[[str], Mapping[str, str]]) -> None:
    """Makes the roles match the Cluster. `secret` returns the data of a Secret in its namespace."""
    statements = []
    there = set(server.sql("SELECT rolname FROM pg_roles", database="postgres").split())
    for role in cluster["spec"]["managed"]["roles"]:
        attributes = " ".join(name if role.get(name) else f"NO{name}" for name in _ATTRIBUTES)
        password = secret(role["passwordSecret"]["name"])["password"]
        verb = "ALTER" if role["name"] in there else "CREATE"
        statements.append(f"{verb} ROLE {role['name']} {attributes} PASSWORD '{password}'")
    made = _bootstrap(cluster)
    if made["owner"] not in there:
        statements.append(f"ALTER DATABASE {made['database']} OWNER TO {made['owner']}")
    server.sql(";\n".join(statements), database="postgres")
