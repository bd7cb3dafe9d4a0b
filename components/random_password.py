"""A password that the program generates once and nobody has to know.

A Pulumi dynamic resource, because the random value must stay the same from one `up` to the next.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider

_BYTES: Final = 24
"""192 bits."""


class _RandomPasswordProvider(ResourceProvider):
    """Has no data: pickling records only the name of this class in the state."""

    serialize_as_secret_always = False

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=False)

    def create(self, _props: dict[str, Any]) -> CreateResult:
        return CreateResult(f"random-{secrets.token_hex(8)}", {"result": secrets.token_urlsafe(_BYTES)})


class RandomPassword(Resource, module="random", name="RandomPassword"):
    """Encrypted in the state; `pulumi up --replace <its URN>` generates a new one."""

    result: pulumi.Output[str]
    """The password, URL-safe; secret."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["result"])
        super().__init__(_RandomPasswordProvider(), name, {"result": None}, pulumi.ResourceOptions.merge(opts, secret))
