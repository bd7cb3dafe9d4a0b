"""What `database` says about its engine: which one, and what belongs to CloudNativePG alone."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator

from settings.errors import refusal
from settings.images import OperandImage
from settings.section import Section
from settings.types import DnsLabel

CLOUDNATIVE_PG: Final = "cloudnative-pg"
_ONLY: Final = f"only beside database.engine: {CLOUDNATIVE_PG}"
_DURABILITY_NEEDS: Final = {"required": 3, "preferred": 2}


class EngineSettings(Section):
    """What runs PostgreSQL: one pod of a StatefulSet, or a Cluster of the operator CloudNativePG."""

    engine: Literal["statefulset", "cloudnative-pg"] = "statefulset"
    """`statefulset`: one pod, and no more than a volume. `cloudnative-pg`: with standbys; the cluster has to have the
    operator. A stack keeps the engine that it was made with."""
    instances: Annotated[int, Field(ge=1, le=9, strict=True)] = 2
    """Of cloudnative-pg: the primary and its standbys, each with a volume of `size`. 1 has no standby."""
    synchronous: Literal["required", "preferred"] | None = None
    """Of cloudnative-pg: a commit waits until one standby has it. `required`: always, so that nothing that was
    committed is ever lost, and nothing is written while no standby answers. `preferred`: as long as one answers."""
    operand_image: OperandImage = "ghcr.io/cloudnative-pg/postgresql:18.6-minimal-trixie"
    """Of cloudnative-pg: what its instances run. `image` stays what backup, drill and restore run."""
    operator_namespace: DnsLabel = "cnpg-system"
    """Of cloudnative-pg: where the operator runs, which has to reach the instances."""

    @field_validator("instances", "synchronous", "operand_image", "operator_namespace")
    @classmethod
    def _has_the_engine(cls, value: object, info: ValidationInfo) -> object:
        if info.data.get("engine") == "statefulset":
            raise refusal(_ONLY, fix="remove it, or set the engine")
        return value

    @field_validator("synchronous")
    @classmethod
    def _standbys_are_enough(cls, synchronous: str | None, info: ValidationInfo) -> str | None:
        instances = info.data.get("instances")
        if synchronous is not None and instances is not None and instances < (least := _DURABILITY_NEEDS[synchronous]):
            why = (
                "or the loss of the one standby would stop every write"
                if synchronous == "required"
                else "for a commit waits for a standby"
            )
            raise refusal(f"with database.instances {least} or more, {why}; given: {instances}")
        return synchronous

    @property
    def is_cluster(self) -> bool:
        """Whether CloudNativePG runs the database."""
        return self.engine == CLOUDNATIVE_PG


STATEFUL_SET: Final = EngineSettings()
"""The default."""
