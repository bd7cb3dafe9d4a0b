"""`backup.s3`: encrypted copies of the backups outside the cluster."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from settings.bucket import BucketSettings, R2BucketSettings
from settings.references import SecretReference
from settings.schedules import DailySchedule, WeeklySchedule
from settings.section import Resources, Section
from settings.types import KeyPrefix, RegionName


class OffsiteRetention(Section):
    """How many copies are kept besides all of the newest two days: one for each of the last days, weeks and months."""

    daily: Annotated[int, Field(ge=1, le=366, strict=True)] = 7
    weekly: Annotated[int, Field(ge=0, le=520, strict=True)] = 5
    monthly: Annotated[int, Field(ge=0, le=120, strict=True)] = 12


class R2Settings(R2BucketSettings):
    """A Cloudflare R2 bucket that `up` creates, with a lock, and a token that may use no other bucket."""

    lock_days: Annotated[int, Field(ge=1, le=3650, strict=True)] = 30
    """Days after its upload during which nobody can delete or overwrite an object; all copies of that many days are
    kept."""


class S3Settings(BucketSettings):
    """A bucket at any S3-compatible endpoint, besides the volume; restic encrypts all data before it leaves the
    cluster."""

    r2: R2Settings | None = None
    """An R2 bucket that the program creates, instead of `endpoint`, `bucket`, `accessKey` and `secretKey`."""
    prefix: KeyPrefix | None = None
    """Folder in the bucket. Default: the namespace, so that two stacks can share a bucket."""
    region: RegionName | None = None
    """Some endpoints require one. Default: restic asks the endpoint."""
    password: SecretReference
    """Password that encrypts the copies: an op:// reference. Never lose it: without it nobody can read them."""
    retention: OffsiteRetention = OffsiteRetention()
    schedule: Annotated[DailySchedule, Field(validate_default=True)] = "20 * * * *"
    """When to upload backups that have no copy yet: at least daily. In `backup.timeZone`."""
    check_schedule: Annotated[WeeklySchedule, Field(validate_default=True)] = "0 6 * * 0"
    """When to check the repository and read back a tenth of it: at least weekly. In `backup.timeZone`."""
    drill_schedule: Annotated[WeeklySchedule, Field(validate_default=True)] = "0 5 * * 0"
    """When to fetch the newest copy and test it by restoring it: at least weekly. In `backup.timeZone`."""
    resources: Resources = Resources.of(cpu=("50m", "1"), memory=("128Mi", "512Mi"))

    def repository(self, namespace: str) -> str:
        """URL of the restic repository for the stack in this namespace."""
        return f"s3:{self.url}/{self.bucket_name}/{self.folder(namespace)}"

    def folder(self, namespace: str) -> str:
        """The repository's folder in the bucket."""
        return self.prefix or namespace
