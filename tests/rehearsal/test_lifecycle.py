"""The life of both stacks, as `make rehearse` shows it."""

from __future__ import annotations

import pytest

from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import Rehearsal


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_a_stack_keeps_its_promises_throughout_its_life(rehearsal: Rehearsal, stack: str) -> None:
    rows = list(Lifecycle(rehearsal, stack).rows())
    assert [f"{row.step}: {row.result}" for row in rows if not row.ok] == []
    assert rows[-1].step == "destroy"
