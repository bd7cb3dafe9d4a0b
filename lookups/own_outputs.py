"""The stack's own state during a run, and the outputs that the last successful `up` left there."""

from __future__ import annotations

import time
from typing import Any, Final

import pulumi

_BEING_WRITTEN: Final = "failed to load checkpoint: EOF"
_ATTEMPTS: Final = 20
_AGAIN: Final = 0.1  # seconds; the engine writes for milliseconds


def full_name() -> str:
    """The stack's full name: <organization>/<project>/<stack>."""
    return f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"


def own_outputs() -> dict[str, Any]:
    """The stack's outputs by name, as a StackReference to itself would give, but without a resource in the state."""
    return read_own_state("readStackOutputs", name=full_name())


def read_own_state(function: str, **arguments: str) -> dict[str, Any]:
    """The `outputs` that an engine function returns for a state.

    It retries while the engine writes the state: a file backend (`file://`) replaces the state in one step, but its
    attributes in two, between which they are empty (gocloud.dev, blob/fileblob/attrs.go, setAttrs).
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return _invoke(function, arguments)
        except Exception as error:
            if _BEING_WRITTEN not in str(error):
                raise
            time.sleep(_AGAIN)
    return _invoke(function, arguments)


def _invoke(function: str, arguments: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = pulumi.runtime.invoke(f"pulumi:pulumi:{function}", arguments).value["outputs"]
    return found
