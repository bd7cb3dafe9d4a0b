"""The stack's own outputs, as the last `up` that got to its end left them."""

from __future__ import annotations

from typing import Any

import pulumi


def full_name() -> str:
    """The stack's: <organization>/<project>/<stack>."""
    return f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"


def own_outputs() -> dict[str, Any]:
    """By name: what a StackReference to the stack itself asks for, without a resource in the state."""
    asked = {"name": full_name()}
    found: dict[str, Any] = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", asked).value["outputs"]
    return found
