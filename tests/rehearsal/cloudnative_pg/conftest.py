"""A control plane with CloudNativePG's real operator, and stacks whose database it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal import optional_tools
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools
from tests.rehearsal.cleanup import rehearsed


@pytest.fixture(scope="module")
def operated_plane(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One for each file: kept for the rest of the session, it would only cost a twentieth of a core, and memory."""
    directory = tmp_path_factory.mktemp("control-plane-with-operator")
    with ControlPlane(tools, directory, operator=optional_tools.cloudnative_pg()) as plane:
        yield plane


@pytest.fixture
def operated(tools: Tools, operated_plane: ControlPlane, tmp_path: Path) -> Iterator[Rehearsal]:
    """A fresh rehearsal on that control plane; what it leaves there is removed."""
    with rehearsed(tools, operated_plane, tmp_path / "rehearsal") as one:
        yield one
