"""The engine part of `database`: which engine, and the settings that only one of the two has."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import Field, ValidationInfo, field_validator

from settings.errors import refusal
from settings.images import OperandImage
from settings.section import Section
from settings.types import DnsLabel
from settings.wal import WalSettings

CLOUDNATIVE_PG: Final = "cloudnative-pg"
ONLY: Final = f"only with database.engine: {CLOUDNATIVE_PG}"
_DURABILITY_NEEDS: Final = {"required": 3, "preferred": 2}


Engine: TypeAlias = Literal["statefulset", "cloudnative-pg"]


def other_engine(engine: Engine) -> Engine:
    """The other of the two engines."""
    return "statefulset" if engine == CLOUDNATIVE_PG else "cloudnative-pg"


class EngineSettings(Section):
    """What runs PostgreSQL: one pod of a StatefulSet, or a Cluster of the operator CloudNativePG."""

    engine: Engine = "statefulset"
    """`statefulset`: one pod and its volume. `cloudnative-pg`: with standbys; the operator must be installed in the
    cluster. To change the engine of a live stack, use `movingFrom` and `python -m ops move-database`."""
    moving_from: Engine | None = None
    """The engine that the stack moves from: `up` creates the new database beside the old one, which stays live until
    `python -m ops move-database` has moved the data. Remove the key once the old database is discarded."""
    instances: Annotated[int, Field(ge=1, le=9, strict=True)] = 2
    """cloudnative-pg only: number of instances, the primary and its standbys, each with a volume of `size`. With 1
    there is no standby."""
    synchronous: Literal["required", "preferred"] | None = None
    """cloudnative-pg only: a commit waits until one standby has it. `required`: always; no committed data is ever lost,
    and nothing is written while no standby answers. `preferred`: only while a standby answers."""
    operand_image: OperandImage = "ghcr.io/cloudnative-pg/postgresql:18.6-minimal-trixie"
    """cloudnative-pg only: image of the instances. Backup, drill and restore still run `image`."""
    operator_namespace: DnsLabel = "cnpg-system"
    """cloudnative-pg only: namespace of the operator, which has to reach the instances."""
    wal: WalSettings | None = None
    """cloudnative-pg only: an archive of the write-ahead log, for point-in-time recovery. Without it, only dumps can be
    restored."""
    tls: Literal["offered", "required"] | None = None
    """statefulset only: TLS, with a certificate that `up` creates and renews. `offered`: to clients that ask for it, as
    this program's pods do. `required`: the server refuses clients without TLS. Default: no TLS."""

    @field_validator("moving_from")
    @classmethod
    def _moves(cls, moving_from: Engine | None, info: ValidationInfo) -> Engine | None:
        if moving_from is not None and moving_from == info.data.get("engine"):
            raise refusal(
                f"an engine other than database.engine, which is {moving_from} already",
                fix="set database.engine to the new engine or, if nothing moves, remove movingFrom",
            )
        return moving_from

    @field_validator("instances", "synchronous", "operand_image", "operator_namespace", "wal")
    @classmethod
    def _has_the_engine(cls, value: object, info: ValidationInfo) -> object:
        if "engine" in info.data and CLOUDNATIVE_PG not in (info.data["engine"], info.data.get("moving_from")):
            raise refusal(ONLY, fix="remove it, or set the engine")
        return value

    @field_validator("tls")
    @classmethod
    def _has_no_tls_of_its_own(cls, tls: str | None, info: ValidationInfo) -> str | None:
        if tls is not None and info.data.get("moving_from") is not None:
            raise refusal("nothing while the database moves (movingFrom)", fix="remove it, and set it after the move")
        if tls is not None and info.data.get("engine") == CLOUDNATIVE_PG:
            raise refusal(
                "only with database.engine: statefulset; CloudNativePG has TLS, with certificates that the operator "
                "makes and renews",
                fix="remove it",
            )
        return tls

    @field_validator("synchronous")
    @classmethod
    def _standbys_are_enough(cls, synchronous: str | None, info: ValidationInfo) -> str | None:
        instances = info.data.get("instances")
        if synchronous is not None and instances is not None and instances < (least := _DURABILITY_NEEDS[synchronous]):
            why = (
                "or the loss of the one standby would stop every write"
                if synchronous == "required"
                else "because a commit waits for a standby"
            )
            raise refusal(f"with database.instances {least} or more, {why}; given: {instances}")
        return synchronous

    @property
    def is_cluster(self) -> bool:
        """Whether CloudNativePG runs the database."""
        return self.engine == CLOUDNATIVE_PG

    @property
    def needs_operator(self) -> bool:
        """Whether CloudNativePG runs the live database or the other one of a move."""
        return CLOUDNATIVE_PG in (self.engine, self.moving_from)

    @property
    def is_moved(self) -> bool:
        """Whether a move is under way and the new database is the live one."""
        return self.moving_from is not None and self.engine != self.moving_from

    @property
    def beside(self) -> Self | None:
        """The section of the second database during a move, live or not; None if nothing moves."""
        return self.model_copy(update={"engine": other_engine(self.engine)}) if self.moving_from else None

    def with_live(self, engine: Engine) -> Self:
        """The section during a move, with the database of `engine` as the live one."""
        return self.model_copy(update={"engine": engine})


STATEFUL_SET: Final = EngineSettings()
"""The default."""
