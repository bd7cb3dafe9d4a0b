"""Checks a database URL in 1Password: it may contain the program's own address, and parameters that work with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from components.database_address import AUTHORITY, DatabaseAddress
from settings.cloudnative_pg import STATEFUL_SET, EngineSettings
from settings.database import DatabaseSettings
from settings.names import Names
from settings.parameters import ServerParameters

Complaint: TypeAlias = tuple[str, str]  # what is wrong with a value, and the fix; never the value

_REPLACING: Final = {"host", "hostaddr", "port", "user", "password", "dbname"}
"""Parameters that override the target in the URL's own parts; libpq allows them."""

_COUNT: Final = r"\d{1,9}"
_SERVED: Final = {
    # Prisma's: www.prisma.io/docs/orm/overview/databases/postgresql, and quaint's PostgresUrl.
    "schema": r"[A-Za-z_][\w$]{0,62}",
    "connection_limit": r"[1-9]\d{0,3}",  # and fewer than the server has
    "pool_timeout": _COUNT,
    "socket_timeout": r"[1-9]\d{0,8}",  # with 0, every query has timed out at once
    "max_connection_lifetime": _COUNT,
    "max_idle_connection_lifetime": _COUNT,
    "statement_cache_size": _COUNT,
    "pgbouncer": "true|false",
    "single_use_connections": "true|false",
    "sslaccept": "strict|accept_invalid_certs",
    # libpq's: www.postgresql.org/docs/18/libpq-connect.html.
    "application_name": r"[ -~]{1,63}",
    "fallback_application_name": r"[ -~]{1,63}",
    "connect_timeout": _COUNT,
    "client_encoding": "(?i:utf-?8)|auto",
    "keepalives": "[01]",
    "keepalives_idle": _COUNT,
    "keepalives_interval": _COUNT,
    "keepalives_count": _COUNT,
    "tcp_user_timeout": _COUNT,
    "sslmode": "disable|allow|prefer",
    "sslnegotiation": "postgres",
    "gssencmode": "disable|prefer",
    "channel_binding": "disable|prefer",
    "target_session_attrs": "any|read-write|primary|prefer-standby",
}
"""Parameters known to work with the program's server, which has no TLS and no standby; patterns for their values."""

_SERVED_BY_CLUSTER: Final = {
    **_SERVED,
    "sslmode": "disable|allow|prefer|require",
    "channel_binding": "disable|prefer|require",
}
"""The same for CloudNativePG's server, which has TLS, with a certificate from its own authority."""

_SERVED_WITH_TLS: Final = {
    **_SERVED_BY_CLUSTER,
    "sslmode": "disable|allow|prefer|require|verify-ca|verify-full",
    # The CA certificate: node-postgres' and libpq's name for it, and that of Prisma's own engine.
    "sslrootcert": re.escape(AUTHORITY),
    "sslcert": re.escape(AUTHORITY),
}
"""The same for the program's server with `database.tls`."""

_DEMANDS: Final = {
    "sslmode": "TLS, which this database does not have",
    "sslnegotiation": "TLS, which this database does not have",
    "channel_binding": "TLS, which this database does not have",
    "gssencmode": "encryption by Kerberos, which this database does not have",
    "target_session_attrs": "a standby, which this database does not have",
}

_DEMANDS_OF_CLUSTER: Final = {
    **_DEMANDS,
    "sslmode": "verification of the server's certificate, which an authority of this database alone has signed",
    "sslnegotiation": "TLS without a negotiation, which is not known to work with the app",
    "channel_binding": "something other than disable, prefer or require",
    "target_session_attrs": "a standby, to which this address does not lead",
}

_DEMANDS_WITH_TLS: Final = {
    **_DEMANDS,
    "sslmode": "something other than one of libpq's modes",
    "sslnegotiation": _DEMANDS_OF_CLUSTER["sslnegotiation"],
    "channel_binding": _DEMANDS_OF_CLUSTER["channel_binding"],
    "sslrootcert": f"an authority other than {AUTHORITY}",
    "sslcert": f"an authority other than {AUTHORITY}",
}

_KNOWN: Final = {
    *("options", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslidentity", "sslpassword", "sslsni", "require_auth"),
    *("passfile", "service", "krbsrvname", "gssdelegation", "load_balance_hosts", "replication", "requiressl"),
    *("statement_timeout", "lock_timeout", "search_path", "uselibpqcompat"),
}
"""Parameters of other servers and clients: a refusal may show these names; any other name could be half a password."""


def url_complaint(
    url: str, password: str | None, names: Names, engine: EngineSettings = STATEFUL_SET
) -> Complaint | None:
    """What is wrong with a database URL. Shows no part of it: after a misplaced '@', the host is half the password."""
    address = DatabaseAddress.of(names, engine)
    fix = f"write {address.url('<postgres-password>')}, or delete the field: it is then derived"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        parameters = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        host = None
    # Prisma needs the scheme in lower case. Some clients ignore everything after a "#".
    if host is None or not url.startswith(("postgresql://", "postgres://")) or re.search(r"\s|#", url):
        return "the value does not parse as a PostgreSQL URL", fix
    wrong = [
        name
        for name, differs in (
            ("user", parts.username != address.user),
            ("host", host not in address.hosts(names.namespace)),
            ("port", (address.port if port is None else port) != address.port),
            ("database", parts.path != f"/{address.database}"),
            ("password than postgres-password", password is not None and parts.password != password),
            ("target in its query", any(name in _REPLACING for name, _ in parameters)),
        )
        if differs
    ]
    problems = [f"names another {', another '.join(wrong)}"] if wrong else []
    problems += _not_served([(name, value) for name, value in parameters if name not in _REPLACING], engine)
    problems += _without_authority(dict(parameters), engine)
    if not problems:
        return None
    if engine.is_moved and engine.beside and host in DatabaseAddress.of(names, engine.beside).hosts(names.namespace):
        fix = f"the database was moved to {address.host}, and the app already has that address: {fix}"
    return f"the URL {'; it '.join(problems)}", fix


def _not_served(parameters: list[tuple[str, str]], engine: EngineSettings) -> list[str]:
    """What is wrong with the parameters. The message shows a name only if it is known to be one, and never a value."""
    served, demanded = (_SERVED_BY_CLUSTER, _DEMANDS_OF_CLUSTER) if engine.is_cluster else (_SERVED, _DEMANDS)
    if engine.tls is not None:
        served, demanded = _SERVED_WITH_TLS, _DEMANDS_WITH_TLS
    times = Counter(name for name, _ in parameters)
    problems = [f"sets {name} twice" for name in times if times[name] > 1 and name in served]
    connections = (engine.parameters if isinstance(engine, DatabaseSettings) else ServerParameters()).max_connections
    for name, value in parameters:
        fits = name not in served or re.fullmatch(served[name], value, re.ASCII)
        if name == "connection_limit" and not (fits and int(value) < connections):
            problems.append(
                f"has a connection_limit outside 1 to {connections - 1}: everybody shares this database's "
                f"{connections} connections"
            )
        elif not fits:
            demands = f"demands {demanded[name]}" if name in demanded else "has a parameter that does not work"
            problems.append(f"{demands} ({name})")
    if others := [name for name in times if name not in served]:
        shown = ", ".join(name if name in _KNOWN else "one that is not shown" for name in others)
        problems.append(f"has parameters ({shown}) other than those known to work: {', '.join(sorted(served))}")
    return problems


def _without_authority(parameters: Mapping[str, str], engine: EngineSettings) -> list[str]:
    """What is wrong about TLS if the database has it: the URL must demand it but does not, or cannot verify it."""
    mode, known = parameters.get("sslmode"), {"sslrootcert", "sslcert"} & parameters.keys()
    # Prisma's own engine, which migrates: TLS where the server has it, and `strict` verifies it by `sslcert` alone.
    strict = parameters.get("sslaccept") == "strict" and mode != "disable"
    if engine.is_cluster and strict:
        return [f"demands {_DEMANDS_OF_CLUSTER['sslmode']} (sslaccept)"]
    if engine.tls is None:
        return []
    verifies = mode in {"require", "verify-ca", "verify-full"}
    if engine.tls == "required" and not verifies:
        return ["does not demand TLS (sslmode), without which database.tls lets nobody in"]
    # node-postgres verifies the certificate in each of these modes.
    if verifies and not known:
        return [f"demands TLS, and does not say with sslrootcert={AUTHORITY} who signed the server's certificate"]
    if strict and "sslcert" not in known:
        return [f"has sslaccept=strict, and does not say with sslcert={AUTHORITY} who signed the server's certificate"]
    return []


def url_warning(url: str, engine: EngineSettings) -> str | None:
    """What keeps node-postgres from using a URL without a complaint, which libpq and Prisma's own engine can use.

    It takes every mode but `disable` for verify-full, or demands TLS at least (pg-connection-string 2, index.js).
    """
    parameters = dict(parse_qsl(urlsplit(url).query))
    mode = parameters.get("sslmode", "disable")
    if mode == "disable" or (engine.tls and "sslrootcert" in parameters):
        return None
    server = "whose certificate it cannot verify" if engine.is_cluster or engine.tls else "which has no TLS"
    fix = f"add sslrootcert={AUTHORITY}" if engine.tls else "remove sslmode"
    return (
        f"node-postgres, the driver of Prisma 7, takes sslmode={mode} for verify-full, and does not connect to this "
        f"database, {server}; {fix}, unless the app uses another driver"
    )
