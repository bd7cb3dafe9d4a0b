"""The rule that no secret is handed to a provider in plain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policies.rule import Resource, known

NAMES = frozenset({"password", "token", "secret", "privateKey", "noteValue", "apiToken", "apiKey"})
"""Inputs that are secret wherever they stand."""

BY_TYPE: Mapping[str, frozenset[str]] = {
    "kubernetes:core/v1:Secret": frozenset({"data", "stringData"}),
    "gitlab:index/projectVariable:ProjectVariable": frozenset({"value"}),
}
"""Inputs that are secret in resources of that type."""

_PUBLIC_VARIABLE = {"masked": False, "hidden": False}


def plaintext(resource: Resource, is_secret: Mapping[str, bool]) -> Iterator[str]:
    """Names the inputs of `resource` that hold a secret in plain; `is_secret` tells which inputs are marked."""
    names = NAMES | BY_TYPE.get(resource.type, frozenset())
    for name, value in resource.inputs.items():
        if name not in names or not value or not known(value) or is_secret.get(name) or _public(resource):
            continue
        yield f"{name} is given in plain and would be readable in the state: wrap it with Output.secret"


def _public(resource: Resource) -> bool:
    """A CI variable that is neither masked nor hidden holds an address, not a secret."""
    return resource.kind == "ProjectVariable" and not any(
        resource.inputs.get(name, default) for name, default in _PUBLIC_VARIABLE.items()
    )


def marks(properties: Any) -> dict[str, bool]:
    """Which inputs are marked secret, themselves or in a part, read from pulumi-policy's secret-preserving proxies."""
    target = properties["__target"]
    return {name: _marked(value) for name, value in target.items()}


def _marked(value: Any) -> bool:
    if type(value).__name__ == "Secret":
        return True
    if isinstance(value, dict):
        return bool(value) and all(_marked(item) for item in value.values())
    return False
