"""`database.wal`: an archive of the write-ahead log with base backups, for point-in-time recovery of the database."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from settings.bucket import BucketSettings, R2BucketSettings
from settings.errors import refusal
from settings.references import SecretReference
from settings.schedules import DailySchedule
from settings.section import Resources, Section
from settings.types import DnsLabel, KeyPrefix


class WalBucketSettings(BucketSettings):
    """A bucket at any S3-compatible endpoint. The database is written to it as it is: unlike for `backup.s3`, nothing
    is encrypted on the cluster's side."""

    r2: R2BucketSettings | None = None
    """An R2 bucket that the program creates, instead of `endpoint`, `bucket`, `accessKey` and `secretKey`. It must not
    be the bucket of `backup.s3`, and has no lock: docs/decisions/33-archive-bucket.md says why."""
    prefix: KeyPrefix | None = None
    """Folder in the bucket. Default: `wal/<namespace>`, so that stacks and `backup.s3` can share a bucket."""
    access_key: Annotated[SecretReference | None, Field(validate_default=True)] = None
    """Id of the access key: an op:// reference. Not the key of `backup.s3`: the instances hold this one."""
    server_side_encryption: Literal["AES256", "aws:kms", "bucket-default"]
    """The encryption of stored objects to request from the endpoint; `bucket-default` requests none. Has no default:
    whatever its value, read access to the bucket is read access to the database."""

    @field_validator("server_side_encryption")
    @classmethod
    def _is_known_to_r2(cls, asked: str, info: ValidationInfo) -> str:
        # https://developers.cloudflare.com/r2/api/s3/api/: PutObject does not implement x-amz-server-side-encryption.
        if info.data.get("r2") is not None and asked != "bucket-default":
            raise refusal("bucket-default with r2, which always encrypts, and refuses any other value")
        return asked

    def path(self, namespace: str) -> str:
        """URL of the archives for the stack in this namespace, as barman-cloud reads it."""
        return f"s3://{self.bucket_name}/{self.folder(namespace)}"

    def folder(self, namespace: str) -> str:
        """The archives' folder in the bucket."""
        return self.prefix or f"wal/{namespace}"


class WalSettings(Section):
    """Archive of the write-ahead log, and base backups to start a recovery from. CloudNativePG's plugin barman-cloud
    must be installed in the cluster."""

    s3: WalBucketSettings
    schedule: DailySchedule = "0 1 * * *"
    """When to take a base backup: at least daily. In UTC, which the operator uses."""
    retention_days: Annotated[int, Field(ge=1, le=3650, strict=True)] = 30
    """How many days back the database can be recovered; what only older points in time need is deleted."""
    archive: DnsLabel | None = None
    """Name of the archive, a folder in the bucket. Default: the Cluster's name. A new database needs an empty one."""
    # For compressing the log and, once a day, the whole database.
    resources: Resources = Resources.of(cpu=("50m", "500m"), memory=("128Mi", "512Mi"))
    """Resources of the plugin's container beside each instance."""
