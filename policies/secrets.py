"""The rule that no provider gets a secret in plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies.pods import containers
from policies.rule import Resource, known
from policies.shapes import SECRET_NAME, SHAPES

MARKED: Final = "[secret]"
"""Replaces every value in a resource's inputs that is marked secret."""

NAMES: Final = frozenset({"password", "token", "secret", "privateKey", "noteValue", "apiToken", "apiKey"})
"""Inputs that are secret in any resource."""

BY_TYPE: Final[Mapping[str, frozenset[str]]] = {
    "kubernetes:core/v1:Secret": frozenset({"data", "stringData"}),
    "gitlab:index/projectVariable:ProjectVariable": frozenset({"value"}),
}
"""Inputs that are secret in resources of that type."""

_PUBLIC_VARIABLE: Final = {"masked": False, "hidden": False}


def plaintext(resource: Resource) -> Iterator[str]:
    """Names the inputs of `resource` that contain a secret in plain text; values marked secret must be MARKED."""
    names = NAMES | BY_TYPE.get(resource.type, frozenset())
    for name, value in resource.inputs.items():
        if name in names and not _public(resource) and any(text != MARKED for _, text in _leaves(value, name)):
            yield f"{name} is given in plain and would be readable in the state: wrap it with Output.secret"
    for container in containers(resource):
        for variable in container.get("env", []):
            value = variable.get("value", MARKED)
            if SECRET_NAME.search(variable.get("name", "")) and value != MARKED and known(value):
                yield (
                    f"container {container['name']} gets {variable['name']} in plain, readable by anyone who may read "
                    "pods: take it from a Secret with valueFrom.secretKeyRef"
                )
    if resource.kind == "ConfigMap":
        for path, text in _leaves(resource.inputs.get("data"), "data"):
            if SECRET_NAME.search(path) and text != MARKED:
                yield f"{path} is given in plain, readable by anyone who may read ConfigMaps: move it to a Secret"
    for path, text in _leaves(resource.inputs, ""):
        for what, shape in SHAPES.items():
            if shape.search(text):
                yield f"{path.lstrip('.')} holds {what} in plain: wrap it with Output.secret"


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Path and text of every value inside `value` that is known and not empty."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    elif value and known(value):
        yield path, str(value)


def _public(resource: Resource) -> bool:
    """A CI variable that is neither masked nor hidden contains an address, not a secret."""
    return resource.kind == "ProjectVariable" and not any(
        resource.inputs.get(name, default) for name, default in _PUBLIC_VARIABLE.items()
    )


def mark(value: Any) -> Any:
    """What a remediation gets, as plain Python, with MARKED for every value that is marked secret."""
    if type(value).__name__ == "Secret":
        return MARKED
    if isinstance(value, Mapping):
        # pulumi-policy's proxies unwrap secrets; this is their own way to reach the underlying value.
        target = value if type(value) is dict else value["__target"]
        return {key: mark(item) for key, item in target.items()}
    if isinstance(value, list):
        return [mark(item) for item in value]
    return value
