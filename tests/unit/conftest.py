"""The whole program, run under mocks as the engine would run it, once for each stack and change of settings."""

from __future__ import annotations

import pytest

from tests.unit.program import Program, run


@pytest.fixture(scope="session", params=["dev", "prod"])
def program(request: pytest.FixtureRequest) -> Program:
    """What the program of a stack registers, with the stack file as it is. Tests only look at it."""
    return run(request.param)


@pytest.fixture(scope="session")
def dev() -> Program:
    """The stack dev alone."""
    return run("dev")


@pytest.fixture(scope="session")
def prod() -> Program:
    """The stack prod alone."""
    return run("prod")
