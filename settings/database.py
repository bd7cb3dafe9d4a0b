"""`database`: PostgreSQL and its volume."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from settings.cloudnative_pg import CLOUDNATIVE_PG, ONLY, EngineSettings
from settings.errors import refusal
from settings.images import OperandImage, PostgresImage, debian_release, postgres_major
from settings.parameters import (
    DEFAULT_MAX_WAL_SIZE,
    DEFAULT_MIN_WAL_SIZE,
    ServerParameters,
    amount,
    default_max_wal_size,
)
from settings.quantities import Storage
from settings.section import Resources, Section
from settings.types import DnsLabel, EachOnce, ResourceName, Uuid
from settings.wal import WalSettings


class UpgradeSettings(Section):
    """The next major version of PostgreSQL."""

    image: PostgresImage
    """Image of backup, drill and restore; with statefulset, also of the server."""
    operand_image: OperandImage | None = None
    """cloudnative-pg only: the instances' next image, of the same version."""
    archive: DnsLabel | None = None
    """cloudnative-pg with `wal` only: `wal.archive` of the next version. Two versions cannot share an archive."""


class DatabaseSettings(EngineSettings):
    """PostgreSQL and its volume."""

    image: PostgresImage = (
        "postgres:18.6-alpine3.24@sha256:d3e1620b530c944afa6e887d22eb899824da68e19c52024bf98f5220c88a65b2"
    )
    upgrade: UpgradeSettings | None = None
    """The version to which `python -m ops upgrade` moves the database. For statefulset, `up` creates a volume."""
    storage_class: ResourceName = "longhorn"
    size: Storage = Storage("10Gi")
    """Size of the volume. Kubernetes can enlarge it, but never shrink it."""
    recurring_job_groups: Annotated[tuple[DnsLabel, ...], Field(strict=False), EachOnce] = ()
    """Longhorn's recurring job groups (snapshots, backups) for the volume. Default: the group `default`."""
    lost_claim: Uuid | Literal["unknown"] | None = None
    """UID of a lost claim that an empty database may replace; `up` says when to set it, and to what."""
    # Memory request and limit are equal: what a node has promised to others is missing when the database needs it.
    resources: Resources = Resources.of(cpu=("100m", "500m"), memory=("1Gi", "1Gi"))
    parameters: Annotated[ServerParameters, Field(validate_default=True)] = ServerParameters()
    """Parameters of the server, under PostgreSQL's names."""

    @field_validator("lost_claim")
    @classmethod
    def _archive_is_a_new_one(cls, lost: str | None, info: ValidationInfo) -> str | None:
        wal: WalSettings | None = info.data.get("wal")
        if lost is not None and wal is not None and wal.archive is None:
            raise refusal(
                "together with database.wal.archive, a name that no archive of the bucket has had: the bucket still "
                "contains the log of the lost database, which must not be mixed with the new one"
            )
        return lost

    @property
    def server_parameters(self) -> dict[str, str]:
        """Every parameter that the server is started with, by name."""
        log = default_max_wal_size(self.size.amount)
        of_size = {} if log == DEFAULT_MAX_WAL_SIZE else {"max_wal_size": log}
        return dict(sorted({**of_size, **self.parameters.given(self.resources.limits.memory.amount)}.items()))

    @field_validator("upgrade")
    @classmethod
    def _is_later(cls, upgrade: UpgradeSettings | None, info: ValidationInfo) -> UpgradeSettings | None:
        image = info.data.get("image")
        if upgrade is not None and info.data.get("moving_from") is not None:
            raise refusal(
                "nothing while the database moves (movingFrom)",
                given=f"image {upgrade.image}",
                fix="remove it, and upgrade before the move or after it",
            )
        if upgrade is not None and image is not None and postgres_major(upgrade.image) <= postgres_major(image):
            raise refusal(
                f"an image of a later major version than database.image, {image}",
                key="image",
                given=upgrade.image,
                fix="remove database.upgrade if the database is upgraded",
            )
        return upgrade

    @field_validator("upgrade")
    @classmethod
    def _upgrade_is_of_the_engine(cls, upgrade: UpgradeSettings | None, info: ValidationInfo) -> UpgradeSettings | None:
        if upgrade is None or "engine" not in info.data:
            return upgrade
        of_operator = {"operandImage": upgrade.operand_image, "archive": upgrade.archive}
        if info.data["engine"] == CLOUDNATIVE_PG:
            _check_operated_upgrade(upgrade, info.data.get("operand_image"), info.data.get("wal"))
        elif given := [key for key, value in of_operator.items() if value is not None]:
            raise refusal(ONLY, key=given[0], given=of_operator[given[0]], fix="remove it")
        return upgrade

    @field_validator("parameters")
    @classmethod
    def _fit(cls, parameters: ServerParameters, info: ValidationInfo) -> ServerParameters:
        resources: Resources | None = info.data.get("resources")
        engines = (info.data.get("engine"), info.data.get("moving_from"))
        size: Storage | None = info.data.get("size")
        if resources is not None:
            limit, request = resources.limits.memory, resources.requests.memory
            buffers = parameters.given(limit.amount)["shared_buffers"]
            # The operator refuses shared_buffers above the memory request, which a full node could not provide.
            if CLOUDNATIVE_PG in engines and amount(buffers) > request.amount:
                raise refusal(
                    f"at least the server's shared_buffers ({buffers}; by default a quarter of the memory limit) in "
                    "resources.requests.memory, on CloudNativePG",
                    given=f"{request}",
                    fix="raise that, or lower shared_buffers",
                )
            if (most := parameters.at_most(limit.amount)) > limit.amount:
                raise refusal(
                    f"at most {limit} (resources.limits.memory) for shared_buffers, max_connections times work_mem, "
                    "autovacuum_max_workers times maintenance_work_mem and the locks together",
                    given=f"{-(-most // 2**20)} MB in all",
                    fix="lower one of them, or raise the limit",
                )
        for name in ("max_wal_size", "min_wal_size"):
            kept = getattr(parameters, name)
            if size is not None and kept is not None and amount(kept) * 2 > size.amount:
                raise refusal(
                    f"at most half of {size} (size): a server whose volume is full stops", key=name, given=repr(kept)
                )
        default = default_max_wal_size(size.amount) if size is not None else DEFAULT_MAX_WAL_SIZE
        least, most_kept = parameters.min_wal_size, parameters.max_wal_size or default
        if CLOUDNATIVE_PG in engines and amount(least or DEFAULT_MIN_WAL_SIZE) >= amount(most_kept):
            raise refusal(
                "a min_wal_size below max_wal_size, on CloudNativePG, whose operator refuses others; by default they "
                f"are {DEFAULT_MIN_WAL_SIZE} and {default}",
                key="min_wal_size" if least is not None else "max_wal_size",
                given=repr(least or most_kept),
                fix="lower min_wal_size, or raise max_wal_size",
            )
        if least is not None and amount(least) > amount(most_kept):
            raise refusal(
                f"at most max_wal_size ({most_kept}): the server keeps no more than that, whatever this says",
                key="min_wal_size",
                given=repr(least),
                fix="lower it, or raise max_wal_size",
            )
        return parameters

    @model_validator(mode="after")
    def _images_are_of_one_version(self) -> Self:
        wanted = postgres_major(self.operand_image)
        if self.needs_operator and postgres_major(self.image) != wanted:
            raise refusal(
                f"an image of PostgreSQL {wanted}, as database.operandImage is: its pg_dump and pg_restore take and "
                "restore the backups of that server",
                key="image",
                given=self.image,
            )
        return self


def _check_operated_upgrade(upgrade: UpgradeSettings, current: str | None, wal: WalSettings | None) -> None:
    """Refuses what CloudNativePG's in-place upgrade cannot use; `current` is the image that the instances run."""
    operand, archive = upgrade.operand_image, upgrade.archive
    if operand is None or postgres_major(operand) != postgres_major(upgrade.image):
        raise refusal(
            f"CloudNativePG's image of PostgreSQL {postgres_major(upgrade.image)}, the version of "
            "database.upgrade.image, for the instances",
            key="operandImage",
            given=operand or "nothing",
        )
    if current is not None and debian_release(operand) != debian_release(current):
        raise refusal(
            f"an image of the same release of Debian as database.operandImage, {current}: pg_upgrade keeps the indexes "
            "as they are, and another release may sort text otherwise",
            key="operandImage",
            given=operand,
        )
    if wal is None and archive is not None:
        raise refusal("only with database.wal", key="archive", given=archive, fix="remove it")
    if wal is not None and archive in {None, wal.archive}:
        raise refusal(
            "a name that no archive of the bucket has had: the next version begins another log, which must not be "
            "mixed with this one's",
            key="archive",
            given=archive or "nothing",
        )
