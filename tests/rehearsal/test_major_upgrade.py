"""`ops upgrade`: a protected stack moves from PostgreSQL 17 to 18 in spite of kills; its old volume is deleted last."""

from __future__ import annotations

import signal

import pytest

from rehearsal.engine import EngineError
from rehearsal.rehearsal import Rehearsal
from tests.rehearsal.backed_up import BackedUp

OLD, NEW = "postgres:17-alpine", "postgres:18-alpine"
UPGRADE = ("upgrade", "--to", "18", "--yes")


def claims(stack: BackedUp) -> list[str]:
    """Names of the database's claims."""
    found = stack.rehearsal.kubectl("-n", stack.namespace, "get", "pvc", "-l", "app=invoicetron-db", "-o", "name")
    return sorted(line.rpartition("/")[2] for line in found.split())


def killed(stack: BackedUp, at: str) -> None:
    """Kills the command once it has printed this."""
    with stack.started(*UPGRADE) as process:
        assert process.stdout
        said = []
        for line in process.stdout:
            said.append(line)
            if at in line:
                break
        else:
            pytest.fail(f"never said {at!r}:\n{''.join(said)}")
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_protected_stack_moves_to_the_next_major_version_without_losing_anything(rehearsal: Rehearsal) -> None:
    stack = BackedUp(rehearsal=rehearsal)
    rehearsal.onepassword.remove_field("Invoicetron Dev", "database-url")  # `up` derives one that demands TLS
    stack.begin({"database.image": OLD, "database.tls": "required", "protect": "true"})
    then, running = stack.fill(), stack.app()
    assert stack.server.major == 17

    rehearsal.configure("dev", "database.image", NEW)
    with pytest.raises(EngineError, match=r"python -m ops upgrade --stack dev --to 18"):
        rehearsal.program.up("dev", "--skip-preview")
    assert "can be upgraded to PostgreSQL 18" in stack.ops("upgrade", "--to", "19", "--yes").stdout
    rehearsal.configure("dev", "database.image", OLD)
    rehearsal.configure("dev", "database.upgrade.image", NEW)
    rehearsal.program.up("dev", "--skip-preview")
    assert claims(stack) == ["data-invoicetron-db-0", "data-invoicetron-db-pg18"]
    assert (stack.server.major, stack.content()) == (17, then)

    killed(stack, "making a data directory")
    assert stack.app()[0] == 0
    with pytest.raises(EngineError, match="stopped for an upgrade of the database"):
        rehearsal.program.up("dev", "--skip-preview")
    assert (stack.server.major, stack.content()) == (17, then)

    killed(stack, "pointing")
    assert stack.app()[0] == 0
    done = stack.ops(*UPGRADE)
    assert done.returncode == 0, done.stdout
    assert stack.app() == running
    assert (stack.server.major, stack.content()) == (18, then)
    stack.server.find_superuser()
    assert stack.server.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'invoicetron'") == "f"

    # The stack file still has the old values, and `up` does not go back to them.
    stack.server.sql("INSERT INTO products (name) VALUES ('sold since')")
    since = stack.content()
    rehearsal.program.up("dev", "--skip-preview")
    assert (stack.server.major, stack.content()) == (18, since)
    rehearsal.configure("dev", "database.image", NEW)
    rehearsal.program.run("config", "rm", "-s", "dev", "--path", "invoicetron:database.upgrade")
    assert not {op for op in rehearsal.program.up("dev", "--skip-preview").changes.values() if op != "update"}
    assert claims(stack) == ["data-invoicetron-db-0", "data-invoicetron-db-pg18"]
    done = stack.ops("backup")
    assert done.returncode == 0, done.stdout
    assert "restores completely" in stack.run("invoicetron-db-drill", "drilled")

    discarded = stack.ops("upgrade", "--discard", "--yes")
    assert discarded.returncode == 0, discarded.stdout
    rehearsal.program.up("dev", "--skip-preview")
    assert claims(stack) == ["data-invoicetron-db-pg18"]
    assert (stack.server.major, stack.content()) == (18, since)
    assert not rehearsal.program.up("dev", "--skip-preview").changes
