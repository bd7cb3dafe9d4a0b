"""`database.wal`: an archive of the write-ahead log with base backups, to recover the database to a moment."""

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
    """A bucket of any S3-compatible endpoint. What is written there is the database as it is: unlike `backup.s3`, this
    has no encryption on the cluster's side."""

    r2: R2BucketSettings | None = None
    """A bucket of R2 that the program makes, instead of `endpoint`, `bucket`, `accessKey` and `secretKey`. Another than
    that of `backup.s3`, and not locked: docs/decisions/33-archive-bucket.md says why."""
    prefix: KeyPrefix | None = None
    """Folder in the bucket; without it `wal/<namespace>`, so that stacks and `backup.s3` can share a bucket."""
    access_key: Annotated[SecretReference | None, Field(validate_default=True)] = None
    """Id of the access key: an op:// reference. Another than `backup.s3` has: the instances hold it."""
    server_side_encryption: Literal["AES256", "aws:kms", "bucket-default"]
    """What the endpoint is asked to encrypt stored objects with; `bucket-default` asks for nothing. Has no default:
    read access to the bucket is read access to the database, whatever stands here."""

    @field_validator("server_side_encryption")
    @classmethod
    def _is_known_to_r2(cls, asked: str, info: ValidationInfo) -> str:
        # https://developers.cloudflare.com/r2/api/s3/api/: PutObject does not implement x-amz-server-side-encryption.
        if info.data.get("r2") is not None and asked != "bucket-default":
            raise refusal("bucket-default beside r2, which encrypts everything by itself and refuses to be asked")
        return asked

    def path(self, namespace: str) -> str:
        """Where the archives of the stack in this namespace are, as barman-cloud reads it."""
        return f"s3://{self.bucket_name}/{self.folder(namespace)}"

    def folder(self, namespace: str) -> str:
        """Their folder in the bucket."""
        return self.prefix or f"wal/{namespace}"


class WalSettings(Section):
    """Archive of the write-ahead log, and base backups to start from. The cluster has to have the plugin
    barman-cloud of CloudNativePG."""

    s3: WalBucketSettings
    schedule: DailySchedule = "0 1 * * *"
    """When a base backup is taken: every day, or more often. In UTC, which the operator goes by."""
    retention_days: Annotated[int, Field(ge=1, le=3650, strict=True)] = 30
    """How many days back the database can be recovered to: what only older moments need is deleted."""
    archive: DnsLabel | None = None
    """Name of the archive, a folder in the bucket; without it the Cluster's. A new database needs one that is empty."""
    # Compression of the log and, once a day, of everything.
    resources: Resources = Resources.of(cpu=("50m", "500m"), memory=("128Mi", "512Mi"))
    """Of the plugin's container beside each instance."""
