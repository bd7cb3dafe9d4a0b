"""What PostgreSQL's own tools write of a database and of its server's roles."""

from __future__ import annotations

import re
from pathlib import Path

from rehearsal.pods.postgres import PostgresServer

CLEAN = {"PGOPTIONS": "-c event_triggers=off -c timezone=UTC -c datestyle=ISO"}

NAME = r'(?:"(?:[^"]|"")*"|\w+)'
POLICY_ROLES = re.compile(rf"(?<= TO ){NAME}(?:, {NAME})+(?= USING | WITH CHECK |;)")
ROLE_SETTINGS = re.compile(rf"(?:^ALTER ROLE {NAME} IN DATABASE .*\n)+", re.MULTILINE)


def written(server: PostgresServer, *, passwords: bool = False, programs: Path | None = None) -> str:
    """What pg_dump and pg_dumpall write, by the server's programs or other ones.

    pg_dump writes the roles of a policy, and roles' settings in a database, in the order in which the server's catalog
    happens to hold the roles. They are sorted here.
    """
    tools = programs or server.bin
    env = server.environment(local=True, **CLEAN) | {"PGUSER": server.superuser}
    roles: list[str | Path] = [tools / "pg_dumpall", "--globals-only", "--restrict-key=same"]
    if not passwords:
        roles.append("--no-role-passwords")
    whole: list[str | Path] = [tools / "pg_dump", "--create", "--restrict-key=same"]
    text = "\n".join(server.run(command, env=env, capture_output=True).stdout for command in (roles, whole))
    text = re.sub(r"^-- Dumped from .*\n", "", text, flags=re.MULTILINE)
    text = POLICY_ROLES.sub(lambda found: ", ".join(sorted(re.findall(NAME, found[0]))), text)
    return ROLE_SETTINGS.sub(lambda found: "".join(sorted(found[0].splitlines(keepends=True))), text)
