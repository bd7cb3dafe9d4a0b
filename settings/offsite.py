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
    """How many copies are kept beside all of the newest two days: one of each of the last days, weeks and months."""

    daily: Annotated[int, Field(ge=1, le=366, strict=True)] = 7
    weekly: Annotated[int, Field(ge=0, le=520, strict=True)] = 5
    monthly: Annotated[int, Field(ge=0, le=120, strict=True)] = 12


class R2Settings(R2BucketSettings):
    """A bucket of Cloudflare R2 that `up` makes, with a lock, and a token that may use no other bucket."""

    lock_days: Annotated[int, Field(ge=1, le=3650, strict=True)] = 30
    """Days after its upload for which nobody can delete or overwrite an object; all copies of as many days are kept."""


class S3Settings(BucketSettings):
    """A bucket of any S3-compatible endpoint, beside the volume; restic encrypts before anything leaves the cluster."""

    r2: R2Settings | None = None
    """A bucket of R2 that the program makes, instead of `endpoint`, `bucket`, `accessKey` and `secretKey`."""
    prefix: KeyPrefix | None = None
    """Folder in the bucket; without it the namespace, so that two stacks can share a bucket."""
    region: RegionName | None = None
    """Some endpoints want one; without it the endpoint is asked."""
    password: SecretReference
    """What the copies are encrypted with: an op:// reference. Without it nobody reads them: it must never be lost."""
    retention: OffsiteRetention = OffsiteRetention()
    schedule: Annotated[DailySchedule, Field(validate_default=True)] = "20 * * * *"
    """When backups that have no copy yet are uploaded: every day, or more often. In `backup.timeZone`."""
    check_schedule: Annotated[WeeklySchedule, Field(validate_default=True)] = "0 6 * * 0"
    """When the repository is checked, a tenth of it read back: every week, or more often. In `backup.timeZone`."""
    drill_schedule: Annotated[WeeklySchedule, Field(validate_default=True)] = "0 5 * * 0"
    """When the newest copy is fetched and tried out: every week, or more often. In `backup.timeZone`."""
    resources: Resources = Resources.of(cpu=("50m", "1"), memory=("128Mi", "512Mi"))

    def repository(self, namespace: str) -> str:
        """Where restic's repository of the stack in this namespace is, as restic reads it."""
        return f"s3:{self.url}/{self.bucket_name}/{self.folder(namespace)}"

    def folder(self, namespace: str) -> str:
        """The repository's folder in the bucket."""
        return self.prefix or namespace
