"""`backup.s3`: encrypted copies of the backups outside the cluster."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from settings.references import SecretReference
from settings.schedules import DailySchedule, WeeklySchedule
from settings.section import Resources, Section
from settings.types import BucketName, KeyPrefix, RegionName, S3Endpoint


class OffsiteRetention(Section):
    """How many copies are kept beside all of the newest two days: one of each of the last days, weeks and months."""

    daily: Annotated[int, Field(ge=1, le=366, strict=True)] = 7
    weekly: Annotated[int, Field(ge=0, le=520, strict=True)] = 5
    monthly: Annotated[int, Field(ge=0, le=120, strict=True)] = 12


class S3Settings(Section):
    """A bucket of any S3-compatible endpoint, beside the volume; restic encrypts before anything leaves the cluster."""

    endpoint: S3Endpoint
    """Where the bucket is; outside the cluster, for the network policy lets the pods out by this name alone."""
    bucket: BucketName
    """Exists already; the keys need to read, write, list and delete objects in it, and nothing else."""
    prefix: KeyPrefix | None = None
    """Folder in the bucket; without it the namespace, so that two stacks can share a bucket."""
    region: RegionName | None = None
    """Some endpoints want one; without it the endpoint is asked."""
    access_key: SecretReference
    """Id of the access key: an op:// reference."""
    secret_key: SecretReference
    """The access key's secret: an op:// reference."""
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

    @property
    def host(self) -> str:
        """The endpoint's host name."""
        return urlsplit(self.endpoint).hostname or ""

    @property
    def port(self) -> int:
        """The endpoint's port."""
        return urlsplit(self.endpoint).port or 443

    def repository(self, namespace: str) -> str:
        """Where restic's repository of the stack in this namespace is, as restic reads it."""
        return f"s3:{self.endpoint}/{self.bucket}/{self.prefix or namespace}"
