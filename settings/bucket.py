"""A bucket outside the cluster: an existing one with its keys, or one in Cloudflare R2 that `up` creates."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator

from settings.errors import refusal
from settings.references import ItemReference, SecretReference
from settings.section import Section
from settings.types import BucketName, CloudflareId, KeyPrefix, RegionName, S3Endpoint

COPIES: Final = "backup.s3.r2"
"""Key in the stack file for the R2 bucket with the off-site copies."""
ARCHIVE: Final = "database.wal.s3.r2"
"""Key in the stack file for the R2 bucket with the archive of the write-ahead log."""


class R2BucketSettings(Section):
    """A Cloudflare R2 bucket that `up` creates, and a token that may use no other bucket."""

    account_id: CloudflareId
    """The account, which must have R2 enabled."""
    bucket: BucketName
    """Belongs to this stack alone and serves only this purpose. It outlives `pulumi destroy`."""
    item: ItemReference
    """1Password item to which `up` writes the key's id and secret, as user name and password: op://vault/item."""
    adopt: bool = False
    """Adopt an existing bucket of this name; set it for one `up`."""

    @property
    def endpoint(self) -> str:
        """S3 endpoint of the account's buckets."""
        return f"https://{self.account_id}.r2.cloudflarestorage.com"


class BucketSettings(Section):
    """A bucket at any S3-compatible endpoint."""

    r2: R2BucketSettings | None = None
    """An R2 bucket that the program creates, instead of `endpoint`, `bucket`, `accessKey` and `secretKey`."""
    endpoint: Annotated[S3Endpoint | None, Field(validate_default=True)] = None
    """The bucket's endpoint. Must be outside the cluster: the network policy lets the pods out to this name only."""
    bucket: Annotated[BucketName | None, Field(validate_default=True)] = None
    """An existing bucket; the keys need permission to read, write, list and delete its objects, and nothing else."""
    prefix: KeyPrefix | None = None
    """Folder in the bucket."""
    region: RegionName | None = None
    """Some endpoints require one."""
    access_key: Annotated[SecretReference | None, Field(validate_default=True)] = None
    """Id of the access key: an op:// reference."""
    secret_key: Annotated[SecretReference | None, Field(validate_default=True)] = None
    """The access key's secret: an op:// reference."""

    @field_validator("endpoint", "bucket", "access_key", "secret_key")
    @classmethod
    def _is_given_or_made(cls, value: object, info: ValidationInfo) -> object:
        if "r2" not in info.data:  # reported as a separate mistake
            return value
        if info.data["r2"] is None and value is None:
            raise refusal("a value, unless the program creates the bucket (r2)", given="nothing")
        if info.data["r2"] is not None and value is not None:
            raise refusal("nothing together with r2, which creates the bucket and its keys", fix="remove either")
        return value

    @property
    def url(self) -> str:
        """The endpoint: as given, or the account's if the program creates the bucket."""
        return self.r2.endpoint if self.r2 else self.endpoint or ""

    @property
    def bucket_name(self) -> str:
        """The bucket's name, given or created."""
        return self.r2.bucket if self.r2 else self.bucket or ""

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
        """Region that requests are signed for. If None, the client asks the endpoint or uses its default.

        R2 has one region.
        """
        return self.region or ("auto" if self.r2 else None)


def check_apart(copies: BucketSettings, archive: BucketSettings, *, folders: tuple[str, str]) -> None:
    """Raises a refusal, for `backup`, if both use one bucket that the program creates, or if their folders overlap.

    The key of such a bucket grants access to all of it, and the lock of the copies refuses an archive's deletions and
    overwrites. A bucket created by hand may have keys for single folders. `folders`: the copies', then the archive's.
    """
    places = [(each.host, each.port, each.bucket_name) for each in (copies, archive)]
    if places[0] != places[1]:
        return
    if copies.r2 or archive.r2:
        raise refusal(
            "a bucket other than that of database.wal.s3: the key of either would open both, and the lock of the "
            "copies would stop the archive",
            key="s3.r2.bucket" if copies.r2 else "s3.bucket",
            given=repr(copies.bucket_name),
            fix="name another in either",
        )
    own, other = folders
    if f"{own}/".startswith(f"{other}/") or f"{other}/".startswith(f"{own}/"):
        raise refusal(
            "a folder of the bucket other than that of database.wal.s3, and neither inside the other: each is pruned "
            "by a program that treats everything there as its own",
            key="s3.prefix",
            given=f"{own!r}, beside {other!r}",
        )
