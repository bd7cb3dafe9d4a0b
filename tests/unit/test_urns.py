"""Type tokens and names of every resource are pinned: a renamed one would be deleted and made again in production.

A change on purpose, after a look at what it replaces (an `aliases` option keeps the resource):

    UPDATE_URNS=1 pytest tests/unit/test_urns.py
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.unit.program import Program

SNAPSHOTS = Path(__file__).parent / "urns"


def test_no_resource_changes_its_urn_by_accident(program: Program) -> None:
    snapshot = SNAPSHOTS / f"{program.stack}.txt"
    urns = "".join(f"{urn}\n" for urn in sorted(each.urn for each in program.registrations))
    if os.environ.get("UPDATE_URNS"):
        snapshot.write_text(urns)
    assert urns == snapshot.read_text(), "see the top of this file"
