"""The start hook of the database's container, and the app's login."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psycopg

from components.database import set_role_password
from rehearsal.pods.postgres import DATABASE, USER, PostgresServer


def start_hook(
    server: PostgresServer,
    password: str,
    *,
    user: str = USER,
    path: Path | None = None,
    patience: int = 30,
    rules: Path | None = None,
    statements: bool = False,
    prefix: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Does what the kubelet does after it starts the container; in BusyBox, as in the image, if this machine has it.

    `prefix`: words before the command.
    """
    shell, flag, script, name, _, *texts = set_role_password(rules=str(rules) if rules else None, statements=statements)
    program = ["busybox", "sh"] if shutil.which("busybox") else [shell]
    image = {"POSTGRES_USER": user, "POSTGRES_PASSWORD": password, "POSTGRES_DB": DATABASE}
    environment = server.environment(local=True, **image, PATIENCE=str(patience))
    for variable in ("PGUSER", "PGDATABASE"):  # which the container does not have
        del environment[variable]
    if path:
        environment["PATH"] = f"{path}:{environment['PATH']}"
    done = subprocess.run(
        [*prefix, *program, flag, script, name, "", *texts],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,  # a hook has no terminal, which psql would prefer to read from
        **server.account,
    )
    with suppress(subprocess.CalledProcessError):  # a server that a test has killed
        server.find_superuser()
    return done


def connect(server: PostgresServer, password: str) -> psycopg.Connection:
    """Opens a session as the app does."""
    return psycopg.connect(
        host="127.0.0.1", port=server.port, user=USER, dbname=DATABASE, password=password, autocommit=True
    )


def lets_in(server: PostgresServer, password: str) -> bool:
    """Whether the app could log in with this password."""
    with suppress(psycopg.OperationalError):
        connect(server, password).close()
        return True
    return False
