"""Parameters of a database URL: libpq and the server agree with what is refused and what is accepted."""

from __future__ import annotations

import psycopg
import pytest

from lookups.database_url import url_complaint
from rehearsal.pods.postgres import USER, PostgresServer
from tests.stacks import DEV

URL = "postgresql://invoicetron:secret@invoicetron-db:5432/invoicetron"
QUERIES = [
    *(f"sslmode={mode}" for mode in ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")),
    *(f"channel_binding={mode}" for mode in ("disable", "prefer", "require")),
    *(f"gssencmode={mode}" for mode in ("disable", "prefer", "require")),
    *(f"target_session_attrs={mode}" for mode in ("any", "read-write", "primary", "prefer-standby")),
    *(f"target_session_attrs={mode}" for mode in ("standby", "read-only")),
    *(f"sslnegotiation={mode}" for mode in ("postgres", "direct")),
    "application_name=invoicetron%20app",
    "fallback_application_name=invoicetron",
    "client_encoding=UTF8",
    "client_encoding=auto",
    "connect_timeout=30&keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=1000",
]


@pytest.mark.parametrize("query", QUERIES)
def test_what_is_refused_is_what_does_not_connect(server: PostgresServer, query: str) -> None:
    refused = url_complaint(f"{URL}?{query}", "secret", DEV) is not None
    address = f"postgresql://{USER}:{server.password}@127.0.0.1:{server.port}"
    try:
        psycopg.connect(f"{address}/postgres?{query}").close()
    except psycopg.OperationalError:
        connects = False
    else:
        connects = True
    assert connects is not refused
