"""`backup`: dumps of the database, and the drill that restores them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from settings.offsite import S3Settings
from settings.quantities import Storage
from settings.schedules import DailySchedule, WeeklySchedule, check_not_skipped
from settings.section import Resources, Section
from settings.types import (
    AbsolutePath,
    DnsLabel,
    EachOnce,
    Host,
    ResourceName,
    TableName,
    TimeZone,
)


class NfsExport(Section):
    """An NFS export for the backups, which survives the cluster."""

    server: Host
    """The NFS server."""
    path: AbsolutePath
    """The exported folder."""


class Retention(Section):
    """How many backups are kept besides all of the last two days: one for each of the last days, weeks and months."""

    daily: Annotated[int, Field(ge=1, le=366, strict=True)] = 7
    weekly: Annotated[int, Field(ge=0, le=520, strict=True)] = 0
    monthly: Annotated[int, Field(ge=0, le=120, strict=True)] = 0


class BackupSettings(Section):
    """Dumps of the database and the drill that restores the newest of them."""

    time_zone: TimeZone = "Etc/UTC"
    """Time zone of both schedules."""
    schedule: DailySchedule | None = None
    """When to take a backup: at least daily. Default: every hour, while dumps are small."""
    drill_schedule: Annotated[WeeklySchedule, Field(validate_default=True)] = "0 4 * * 0"
    """When a drill restores the newest backup: at least weekly."""
    storage_class: ResourceName = "longhorn"
    size: Storage = Storage("2Gi")
    recurring_job_groups: Annotated[tuple[DnsLabel, ...], Field(strict=False), EachOnce] = ()
    """Longhorn's recurring job groups (snapshots, backups) for the volume. Default: the group `default`."""
    nfs: NfsExport | None = None
    """Replaces the volume of the storage class."""
    s3: S3Settings | None = None
    """Encrypted off-site copies, in addition to the volume or export. Dumps on the volume are then not compressed."""
    retention: Retention = Retention()
    session_tables: Annotated[tuple[TableName, ...], Field(strict=False), EachOnce] = ()
    """Tables that `ops restore --clear-sessions` empties, if the app's sessions are not in `session` or `sessions`."""
    resources: Resources = Resources.of(cpu=("50m", "500m"), memory=("64Mi", "256Mi"))
    drill_resources: Resources = Resources.of(cpu=("100m", "500m"), memory=("256Mi", "1Gi"))

    @field_validator("schedule", "drill_schedule")
    @classmethod
    def _is_not_skipped(cls, schedule: str | None, info: ValidationInfo) -> str | None:
        zone = info.data.get("time_zone")
        if schedule is not None and zone is not None:
            check_not_skipped(schedule, zone, pauses="daily" if info.field_name == "schedule" else "weekly")
        return schedule

    @field_validator("s3")
    @classmethod
    def _copies_are_not_skipped(cls, s3: S3Settings | None, info: ValidationInfo) -> S3Settings | None:
        zone = info.data.get("time_zone")
        if s3 is not None and zone is not None:
            check_not_skipped(s3.schedule, zone, pauses="daily", key="schedule")
            check_not_skipped(s3.check_schedule, zone, pauses="weekly", key="checkSchedule")
            check_not_skipped(s3.drill_schedule, zone, pauses="weekly", key="drillSchedule")
        return s3
