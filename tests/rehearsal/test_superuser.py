"""`ops revoke-superuser` on a stack of the last release: its role becomes an owner, and all else keeps working."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rehearsal.lifecycle import Lifecycle
from rehearsal.pods.postgres import PostgresServer
from rehearsal.rehearsal import Rehearsal
from tests.rehearsal.backed_up import BackedUp
from tests.rehearsal.last_release import extract, write_stack_files
from tests.rehearsal.test_upgrade import keep_encryption


def is_superuser(server: PostgresServer) -> str:
    server.find_superuser()
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'invoicetron'"
    return server.sql(f"SELECT rolsuper, ({owner}) FROM pg_roles WHERE rolname = 'invoicetron'")  # noqa: S608


def test_a_live_stack_is_migrated_with_one_up_and_one_command(rehearsal: Rehearsal, tmp_path: Path) -> None:
    extract(tmp_path / "released")
    write_stack_files(rehearsal.program.directory)
    released = replace(rehearsal.program, directory=tmp_path / "released")
    released.init("dev")
    released.up("dev", "--skip-preview")
    stack = BackedUp(rehearsal=rehearsal)
    then = stack.fill()
    keep_encryption(tmp_path / "released", rehearsal.program.directory, "dev")
    rehearsal.program.up("dev", "--skip-preview")
    lifecycle = Lifecycle(rehearsal, "dev")
    lifecycle.deploy(lifecycle.image)
    assert is_superuser(stack.server) == "t|invoicetron"

    asked = stack.ops("revoke-superuser")
    assert asked.returncode == 1
    assert "is PostgreSQL's superuser" in asked.stdout
    assert is_superuser(stack.server) == "t|invoicetron"
    done = stack.ops("revoke-superuser", "--yes")
    assert done.returncode == 0, done.stdout
    assert is_superuser(stack.server) == "f|invoicetron"
    assert stack.content() == then
    assert "is no superuser" in stack.ops("revoke-superuser", "--yes").stdout

    done = stack.ops("backup")
    assert done.returncode == 0, done.stdout
    stack.server.sql("DELETE FROM invoice_items", user="invoicetron")
    done = stack.ops("restore", "--from", "latest", "--yes")
    assert done.returncode == 0, done.stdout
    assert stack.content() == then
    assert is_superuser(stack.server) == "f|invoicetron"
    assert not rehearsal.program.up("dev", "--skip-preview").changes
    # What a restore that was killed together with its command would have left.
    stack.server.sql("ALTER ROLE invoicetron SUPERUSER")
    assert "a restore that did not end" in stack.ops("revoke-superuser", "--yes").stdout
    assert is_superuser(stack.server) == "f|invoicetron"
