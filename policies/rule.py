"""The input and output of rules; only this module and `__main__.py` depend on pulumi-policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

UNKNOWN: Final = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
"""Placeholders for values that a preview does not know yet (pulumi_policy.proxy); rules let them pass."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource of a preview: its inputs as plain Python, and what it depends on."""

    type: str
    urn: str
    inputs: Mapping[str, Any]
    protect: bool = False
    dependencies: tuple[str, ...] = ()
    """URNs of the resources it depends on, its parent included."""

    @property
    def kind(self) -> str:
        """The last part of the type token, e.g. `Deployment`."""
        return self.type.rsplit(":", 1)[-1]

    @property
    def stack(self) -> str:
        """The stack, from the URN: a policy pack has no other way to know it when it is loaded."""
        return self.urn.split(":")[2]

    @property
    def namespace(self) -> str | None:
        """The Kubernetes namespace; None if the resource has none."""
        namespace: str | None = self.inputs.get("metadata", {}).get("namespace")
        return namespace


@dataclass(frozen=True, kw_only=True)
class Violation:
    """What is wrong and how to fix it, for one resource, or for the stack if `urn` is None."""

    message: str
    urn: str | None = None


ResourceCheck = Callable[[Resource], Iterator[str]]
StackCheck = Callable[[Sequence[Resource]], Iterator[Violation]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One policy. `each` checks one resource, `all` the whole stack."""

    name: str
    description: str
    each: ResourceCheck | None = None
    all: StackCheck | None = field(default=None)


def plain(value: Any) -> Any:
    """The value without pulumi-policy's proxies, which raise for values that are not known yet."""
    if isinstance(value, Mapping):
        target = value["__target"] if type(value) is not dict else value
        return {key: plain(item) for key, item in target.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        target = value["__target"] if type(value) is not list else value  # type: ignore[call-overload] # its proxy's own door
        return [plain(item) for item in target]
    return value


def known(value: Any) -> bool:
    """Whether a preview knows the value."""
    return not (isinstance(value, str) and value in UNKNOWN)
