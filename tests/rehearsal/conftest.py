"""One control plane for a whole test session; new emulators, backend and program for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools, ensure
from tests.rehearsal.cleanup import rehearsed


@pytest.fixture(scope="session")
def tools() -> Tools:
    return ensure()


@pytest.fixture(scope="session")
def control_plane(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tools, tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture
def rehearsal(tools: Tools, control_plane: ControlPlane, tmp_path: Path) -> Iterator[Rehearsal]:
    """A fresh rehearsal; what it leaves on the shared control plane is removed."""
    with rehearsed(tools, control_plane, tmp_path / "rehearsal") as one:
        yield one
