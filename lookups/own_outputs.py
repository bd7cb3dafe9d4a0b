"""The stack's own outputs, as the last `up` that got to its end left them."""

from __future__ import annotations

from typing import Any

import pulumi


def own_outputs() -> dict[str, Any]:
    """By name: what a StackReference to the stack itself asks for, without a resource in the state."""
    name = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    found: dict[str, Any] = pulumi.runtime.invoke("pulumi:pulumi:readStackOutputs", {"name": name}).value["outputs"]
    return found
