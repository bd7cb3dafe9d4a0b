"""`database.tls` on a live stack: one `up`, and its backups connect by it; the next `up` changes nothing."""

from __future__ import annotations

import json

import psycopg
import pytest

from components.database_address import AUTHORITY
from rehearsal.engine import EngineError
from rehearsal.rehearsal import Rehearsal
from tests.rehearsal.backed_up import BackedUp
from tests.stacks import DEV


def test_a_stack_passes_over_to_tls_and_its_backups_with_it(rehearsal: Rehearsal) -> None:
    stack = BackedUp(rehearsal=rehearsal)
    stack.prepare()
    then = stack.fill()
    rehearsal.configure("dev", "database.tls", "required")
    with pytest.raises(EngineError, match=r"the URL does not demand TLS \(sslmode\)"):
        rehearsal.program.up("dev", "--skip-preview")
    rehearsal.onepassword.remove_field("Invoicetron Dev", "database-url")
    rehearsal.program.up("dev")

    server = stack.server
    assert stack.content() == then
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(f"{server.url}?sslmode=disable")
    done = stack.ops("backup")
    assert done.returncode == 0, done.stdout
    assert not rehearsal.program.up("dev").changes

    found = rehearsal.kubectl("-n", DEV.namespace, "get", "configmap", DEV.database_authority, "-o", "json")
    data: dict[str, str] = json.loads(found)["data"]
    assert list(data) == [AUTHORITY.rpartition("/")[2]]
    assert "PRIVATE KEY" not in json.dumps(rehearsal.program.export("dev"))
