"""One `up` upgrades stacks of the last release to the present program, and replaces and deletes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rehearsal.rehearsal import Rehearsal
from tests.rehearsal.last_release import extract, write_stack_files

KEPT = {"create", "update", "read", "same", "refresh"}
"""What an upgrade may do; a replacement or a deletion has to be named in CHANGELOG.md, and here."""

RESTARTS_DATABASE = True
"""Whether the first `up` restarts the database; where it does, CHANGELOG.md says so and why."""


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_an_up_from_the_last_release_replaces_and_deletes_nothing(
    rehearsal: Rehearsal, tmp_path: Path, stack: str
) -> None:
    extract(tmp_path / "released")
    write_stack_files(rehearsal.program.directory)  # an upgrade of the program alone
    released = replace(rehearsal.program, directory=tmp_path / "released")
    released.init(stack)
    released.up(stack, "--skip-preview")
    pod = database_pod(rehearsal, stack)
    keep_encryption(tmp_path / "released", rehearsal.program.directory, stack)

    upgraded = rehearsal.program.up(stack, "--skip-preview")

    assert not {name: op for name, op in upgraded.changes.items() if op not in KEPT}
    assert (database_pod(rehearsal, stack) != pod) is RESTARTS_DATABASE
    assert not rehearsal.program.up(stack, "--skip-preview").changes


def database_pod(rehearsal: Rehearsal, stack: str) -> str:
    """UID of the database's pod."""
    return str(rehearsal.get("pod", "invoicetron-db-0", namespace=f"invoicetron-{stack}")["metadata"]["uid"])


def keep_encryption(source: Path, target: Path, stack: str) -> None:
    """Copies the salt that `pulumi stack init` wrote: without it the state's secrets cannot be read."""
    (salt,) = [
        line
        for line in (source / f"Pulumi.{stack}.yaml").read_text().splitlines()
        if line.startswith("encryptionsalt:")
    ]
    file = target / f"Pulumi.{stack}.yaml"
    file.write_text(f"{file.read_text().rstrip()}\n{salt}\n")
