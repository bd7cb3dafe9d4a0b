"""The rule that no secret is handed to a provider in plain."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies.pods import containers
from policies.rule import Resource, known

MARKED: Final = "[secret]"
"""Stands in a resource's inputs for every value that is marked secret."""

NAMES: Final = frozenset({"password", "token", "secret", "privateKey", "noteValue", "apiToken", "apiKey"})
"""Inputs that are secret wherever they stand."""

BY_TYPE: Final[Mapping[str, frozenset[str]]] = {
    "kubernetes:core/v1:Secret": frozenset({"data", "stringData"}),
    "gitlab:index/projectVariable:ProjectVariable": frozenset({"value"}),
}
"""Inputs that are secret in resources of that type."""

_PUBLIC_VARIABLE: Final = {"masked": False, "hidden": False}
_VARIABLE: Final = re.compile(
    r"(PASSWORD|PASSPHRASE|SECRET|TOKEN|CREDENTIALS?|(API|PRIVATE|ACCESS)[-._]?KEY|DATABASE[-._]?URL)$", re.IGNORECASE
)
"""Environment variables and keys of a ConfigMap that are secret by their name."""

_SHAPES: Final = {
    "an address with a password in it": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s:/@]*:[^\s/@]+@"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a token of GitLab or GitHub": re.compile(r"\b(gl[a-z]{2,5}-|gh[pousr]_|github_pat_)[0-9A-Za-z_.-]{16,}"),
    "a signed token (JWT)": re.compile(r"\beyJ[0-9A-Za-z_-]{8,}\.eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]+"),
}
"""Secrets that are known by how they look, wherever they stand."""


def plaintext(resource: Resource) -> Iterator[str]:
    """Names the inputs of `resource` that hold a secret in plain; what is marked secret is MARKED in them."""
    names = NAMES | BY_TYPE.get(resource.type, frozenset())
    for name, value in resource.inputs.items():
        if name in names and not _public(resource) and any(text != MARKED for _, text in _leaves(value, name)):
            yield f"{name} is given in plain and would be readable in the state: wrap it with Output.secret"
    for container in containers(resource):
        for variable in container.get("env", []):
            value = variable.get("value", MARKED)
            if _VARIABLE.search(variable.get("name", "")) and value != MARKED and known(value):
                yield (
                    f"container {container['name']} gets {variable['name']} in plain, readable for whoever may look at "
                    "pods: take it from a Secret with valueFrom.secretKeyRef"
                )
    if resource.kind == "ConfigMap":
        for path, text in _leaves(resource.inputs.get("data"), "data"):
            if _VARIABLE.search(path) and text != MARKED:
                yield f"{path} is given in plain, readable for whoever may look at ConfigMaps: take it to a Secret"
    for path, text in _leaves(resource.inputs, ""):
        for what, shape in _SHAPES.items():
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
    """A CI variable that is neither masked nor hidden holds an address, not a secret."""
    return resource.kind == "ProjectVariable" and not any(
        resource.inputs.get(name, default) for name, default in _PUBLIC_VARIABLE.items()
    )


def mark(value: Any) -> Any:
    """What a remediation is shown as plain Python, with MARKED for what is marked secret."""
    if type(value).__name__ == "Secret":
        return MARKED
    if isinstance(value, Mapping):
        # pulumi-policy's proxies unwrap what is secret; this is their own door to what is behind.
        target = value if type(value) is dict else value["__target"]
        return {key: mark(item) for key, item in target.items()}
    if isinstance(value, list):
        return [mark(item) for item in value]
    return value
