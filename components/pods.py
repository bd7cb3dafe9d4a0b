"""What the stack's pods have in common: labels, metadata, the `restricted` security level, and their footprint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Self

import pulumi

from sdks import kubernetes
from settings.section import Amounts, Resources

core = kubernetes.core.v1
meta = kubernetes.meta.v1

PATCH_FORCE: Final = {"pulumi.com/patchForce": "true"}
"""Annotation that makes `up` revert manual changes to an object; without it, the next `up` stops at a conflict."""

NEVER: Final = "0 0 31 2 *"
"""Schedule of a CronJob that is only a template: the API requires one, and 31 February never comes, even if somebody
ends the suspension."""

_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL: Final = {18: "E", 15: "P", 12: "T", 9: "G", 6: "M", 3: "k", 0: "", -3: "m", -6: "u", -9: "n"}


@dataclass(frozen=True, kw_only=True)
class SecretData:
    """The contents of one Secret."""

    values: Mapping[str, pulumi.Input[str]] = field(repr=False)
    """Values by key."""
    checksum: str
    """Changes with any value but reveals nothing about it; as an annotation on a pod template, it restarts the pods."""


def pod_security(*, user: int, group: int, volumes: bool = False) -> core.PodSecurityContextArgs:
    """The pod's half of the `restricted` level; `volumes` lets the group write to the pod's volumes."""
    return core.PodSecurityContextArgs(
        run_as_non_root=True,
        run_as_user=user,
        run_as_group=group,
        fs_group=group if volumes else None,
        # Otherwise every start walks through the whole volume.
        fs_group_change_policy="OnRootMismatch" if volumes else None,
        seccomp_profile=core.SeccompProfileArgs(type="RuntimeDefault"),
    )


def container_security(*, read_only: bool) -> core.SecurityContextArgs:
    """The container's half of the `restricted` level; `read_only` applies to its root file system."""
    return core.SecurityContextArgs(
        allow_privilege_escalation=False,
        capabilities=core.CapabilitiesArgs(drop=["ALL"]),
        read_only_root_filesystem=read_only,
    )


def secret_variable(name: str, *, secret: pulumi.Input[str], key: str) -> core.EnvVarArgs:
    """The environment variable `name`, from one key of a Secret; envFrom would pass every key under its own name."""
    return core.EnvVarArgs(
        name=name,
        value_from=core.EnvVarSourceArgs(secret_key_ref=core.SecretKeySelectorArgs(name=secret, key=key)),
    )


def label_variable(name: str, *, label: str) -> core.EnvVarArgs:
    """The environment variable `name`, from a label of the pod."""
    field = core.ObjectFieldSelectorArgs(field_path=f"metadata.labels['{label}']", api_version="v1")
    return core.EnvVarArgs(name=name, value_from=core.EnvVarSourceArgs(field_ref=field))


def container_resources(resources: Resources) -> core.ResourceRequirementsArgs:
    """Requests and limits of a container."""
    return core.ResourceRequirementsArgs(requests=quantities(resources.requests), limits=quantities(resources.limits))


def quantities(amounts: Amounts) -> dict[str, str]:
    """CPU and memory, as the API server returns them."""
    return {"cpu": quantity(amounts.cpu.amount), "memory": quantity(amounts.memory.amount, binary=True)}


def quantity(amount: Decimal, *, binary: bool = False) -> str:
    """`amount` as the API server returns it: 2000m is "2", 1024Mi is "1Gi".

    With any other spelling, a refresh would read another text than the program's, and every `up` would show a change.
    """
    if binary and amount % 1024 == 0:
        power = 0
        while amount % 1024 == 0 and power < len(_BINARY) - 1:
            amount, power = amount / 1024, power + 1
        return f"{int(amount)}{_BINARY[power]}"
    for exponent, suffix in _DECIMAL.items():
        scaled = amount.scaleb(-exponent)
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    raise ValueError(f"{amount} is finer than Kubernetes counts (1n)")


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """How much of a ResourceQuota pods use: CPU in cores, memory in bytes."""

    cpu_requests: Decimal = Decimal(0)
    cpu_limits: Decimal = Decimal(0)
    memory_requests: Decimal = Decimal(0)
    memory_limits: Decimal = Decimal(0)

    @classmethod
    def of(cls, resources: Resources, *, pods: int = 1) -> Self:
        """`pods` pods of one container each. An init container that requests no more adds nothing: it runs before."""
        return cls(
            cpu_requests=resources.requests.cpu.amount * pods,
            cpu_limits=resources.limits.cpu.amount * pods,
            memory_requests=resources.requests.memory.amount * pods,
            memory_limits=resources.limits.memory.amount * pods,
        )

    @classmethod
    def total(cls, footprints: Iterable[Footprint]) -> Self:
        """The sum of `footprints`, for pods that run at the same time."""
        every = list(footprints)
        return cls(
            cpu_requests=sum((each.cpu_requests for each in every), Decimal(0)),
            cpu_limits=sum((each.cpu_limits for each in every), Decimal(0)),
            memory_requests=sum((each.memory_requests for each in every), Decimal(0)),
            memory_limits=sum((each.memory_limits for each in every), Decimal(0)),
        )

    def hard(self) -> dict[str, str]:
        """The `hard` limits of a ResourceQuota that admits exactly this much."""
        return {
            "requests.cpu": quantity(self.cpu_requests),
            "limits.cpu": quantity(self.cpu_limits),
            "requests.memory": quantity(self.memory_requests, binary=True),
            "limits.memory": quantity(self.memory_limits, binary=True),
        }
