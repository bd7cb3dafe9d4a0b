"""`database.wal`: an archive of the write-ahead log with base backups, to recover the database to a moment."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field

from settings.references import SecretReference
from settings.schedules import DailySchedule
from settings.section import Resources, Section
from settings.types import BucketName, DnsLabel, KeyPrefix, RegionName, S3Endpoint


class WalBucketSettings(Section):
    """A bucket of any S3-compatible endpoint. What is written there is the database as it is: unlike `backup.s3`, this
    has no encryption on the cluster's side."""

    endpoint: S3Endpoint
    """Where the bucket is; outside the cluster, for the network policy lets the instances out by this name alone."""
    bucket: BucketName
    """Exists already; the keys need to read, write, list and delete objects in it, and nothing else."""
    prefix: KeyPrefix | None = None
    """Folder in the bucket; without it `wal/<namespace>`, so that stacks and `backup.s3` can share a bucket."""
    region: RegionName | None = None
    """Some endpoints want one."""
    access_key: SecretReference
    """Id of the access key: an op:// reference. Another than `backup.s3` has: the instances hold it."""
    secret_key: SecretReference
    """The access key's secret: an op:// reference."""
    server_side_encryption: Literal["AES256", "aws:kms", "bucket-default"]
    """What the endpoint is asked to encrypt stored objects with; `bucket-default` asks for nothing. Has no default:
    read access to the bucket is read access to the database, whatever stands here."""

    @property
    def host(self) -> str:
        """The endpoint's host name."""
        return urlsplit(self.endpoint).hostname or ""

    @property
    def port(self) -> int:
        """The endpoint's port."""
        return urlsplit(self.endpoint).port or 443

    def path(self, namespace: str) -> str:
        """Where the archives of the stack in this namespace are, as barman-cloud reads it."""
        return f"s3://{self.bucket}/{self.prefix or f'wal/{namespace}'}"


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
