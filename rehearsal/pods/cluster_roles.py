"""What an instance manager of CloudNativePG does to the roles of its server: those of `initdb` and `managed`.

Follows CloudNativePG 1.27: pkg/management/postgres/initdb.go and internal/management/controller/roles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from rehearsal.pods.postgres import PostgresServer
from settings.images import postgres_major

SUPERUSER: Final = "postgres"
"""As `initdb` makes the server; nobody has its password."""
_ATTRIBUTES: Final = ("superuser", "login", "createdb", "createrole", "replication", "bypassrls")


def database(cluster: Mapping[str, Any]) -> str:
    """The application's database."""
    name: str = _bootstrap(cluster)["database"]
    return name


def host(cluster: Mapping[str, Any]) -> str:
    """The Service that leads to the primary."""
    return f"{cluster['metadata']['name']}-rw"


def major(cluster: Mapping[str, Any]) -> int:
    """The version of its data: of what the operator has noted, or, before it has, of what it is to begin with."""
    noted: int | None = (cluster.get("status", {}).get("pgDataImageInfo") or {}).get("majorVersion")
    return noted or postgres_major(cluster["spec"]["imageName"])


def is_recovered(cluster: Mapping[str, Any]) -> bool:
    """Whether it was made from an archive."""
    return "recovery" in cluster["spec"]["bootstrap"]


def _bootstrap(cluster: Mapping[str, Any]) -> Mapping[str, Any]:
    (found,) = cluster["spec"]["bootstrap"].values()
    section: Mapping[str, Any] = found
    return section


def reconcile(server: PostgresServer, cluster: Mapping[str, Any], secret: Callable[[str], Mapping[str, str]]) -> None:
    """Makes the roles what the Cluster says. `secret` gives what a Secret of its namespace holds."""
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
