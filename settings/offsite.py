"""`backup.s3`: encrypted copies of the backups outside the cluster."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from settings.errors import refusal
from settings.references import ItemReference, SecretReference
from settings.schedules import DailySchedule, WeeklySchedule
from settings.section import Resources, Section
from settings.types import BucketName, CloudflareId, KeyPrefix, RegionName, S3Endpoint


class OffsiteRetention(Section):
    """How many copies are kept beside all of the newest two days: one of each of the last days, weeks and months."""

    daily: Annotated[int, Field(ge=1, le=366, strict=True)] = 7
    weekly: Annotated[int, Field(ge=0, le=520, strict=True)] = 5
    monthly: Annotated[int, Field(ge=0, le=120, strict=True)] = 12


class R2Settings(Section):
    """A bucket of Cloudflare R2 that `up` makes, with a lock, and a token that may use no other bucket."""

    account_id: CloudflareId
    """The account, which has R2 enabled."""
    bucket: BucketName
    """This stack's alone. It outlives `pulumi destroy`."""
    item: ItemReference
    """1Password item that `up` writes the key's id and secret to, as user name and password: op://vault/item."""
    lock_days: Annotated[int, Field(ge=1, le=3650, strict=True)] = 30
    """Days after its upload for which nobody can delete or overwrite an object; all copies of as many days are kept."""
    adopt: bool = False
    """Take over a bucket of this name that exists already, for one `up`."""

    @property
    def endpoint(self) -> str:
        """Where the account's buckets are."""
        return f"https://{self.account_id}.r2.cloudflarestorage.com"


class S3Settings(Section):
    """A bucket of any S3-compatible endpoint, beside the volume; restic encrypts before anything leaves the cluster."""

    r2: R2Settings | None = None
    """A bucket of R2 that the program makes, instead of `endpoint`, `bucket`, `accessKey` and `secretKey`."""
    endpoint: Annotated[S3Endpoint | None, Field(validate_default=True)] = None
    """Where the bucket is; outside the cluster, for the network policy lets the pods out by this name alone."""
    bucket: Annotated[BucketName | None, Field(validate_default=True)] = None
    """Exists already; the keys need to read, write, list and delete objects in it, and nothing else."""
    prefix: KeyPrefix | None = None
    """Folder in the bucket; without it the namespace, so that two stacks can share a bucket."""
    region: RegionName | None = None
    """Some endpoints want one; without it the endpoint is asked."""
    access_key: Annotated[SecretReference | None, Field(validate_default=True)] = None
    """Id of the access key: an op:// reference."""
    secret_key: Annotated[SecretReference | None, Field(validate_default=True)] = None
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

    @field_validator("endpoint", "bucket", "access_key", "secret_key")
    @classmethod
    def _is_given_or_made(cls, value: object, info: ValidationInfo) -> object:
        if "r2" not in info.data:  # a mistake of its own
            return value
        if info.data["r2"] is None and value is None:
            raise refusal("a value, unless the program makes the bucket (r2)", given="nothing")
        if info.data["r2"] is not None and value is not None:
            raise refusal("nothing beside r2, which makes the bucket and its keys", fix="remove either")
        return value

    @property
    def url(self) -> str:
        """The endpoint, whoever made the bucket."""
        return self.r2.endpoint if self.r2 else self.endpoint or ""

    @property
    def host(self) -> str:
        """The endpoint's host name."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The endpoint's port."""
        return urlsplit(self.url).port or 443

    @property
    def signing_region(self) -> str | None:
        """What requests are signed for; None: restic asks the endpoint. R2 has one region."""
        return self.region or ("auto" if self.r2 else None)

    def repository(self, namespace: str) -> str:
        """Where restic's repository of the stack in this namespace is, as restic reads it."""
        return f"s3:{self.url}/{self.r2.bucket if self.r2 else self.bucket}/{self.folder(namespace)}"

    def folder(self, namespace: str) -> str:
        """The repository's folder in the bucket."""
        return self.prefix or namespace
