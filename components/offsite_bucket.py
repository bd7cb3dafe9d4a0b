"""OffsiteBucket: a Cloudflare R2 bucket outside the cluster, its lock, and the only key that may use it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.environment import Environment
from components.registry_item import RegistryItem
from lookups.onepassword import ItemPlace
from lookups.r2 import LockRule, R2Ids
from sdks import cloudflare
from settings.bucket import BucketSettings, R2BucketSettings
from settings.names import PROGRAM

MARGIN: Final = 2
"""Days by which copies are kept longer than the lock: a backup may be uploaded that long after it was taken."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BucketSecrets:
    """The keys of a bucket, each marked secret; or, if the program creates them, where to write them."""

    access_key: pulumi.Output[str] | None = field(default=None, repr=False)
    secret_key: pulumi.Output[str] | None = field(default=None, repr=False)
    item: ItemPlace | None = None
    """1Password item for the keys that the program creates, where people find them."""


@dataclass(frozen=True, kw_only=True)
class Purpose:
    """What a bucket that the program creates is for."""

    key: str
    """Key of the bucket in the stack file."""
    resource: str
    """First part of the resources' Pulumi names."""
    token: str
    """Name of the API token."""
    rules: Sequence[LockRule]
    """Rules of the lock."""


@dataclass(frozen=True, kw_only=True)
class OffsiteBucketArgs:
    """Settings of the bucket, and the ids that `look_up` found."""

    settings: R2BucketSettings
    environment: Environment
    purpose: Purpose
    ids: R2Ids
    item: ItemPlace


class OffsiteBucket(pulumi.ComponentResource):
    """The bucket. `destroy` keeps it, with its lock: afterwards, its contents are all that is left."""

    access_key: pulumi.Output[str]
    secret_key: pulumi.Output[str]
    """The S3 keys, known once the bucket is locked."""

    def __init__(self, name: str, args: OffsiteBucketArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:offsite_bucket:OffsiteBucket", name, None, opts)
        settings, purpose, owner = args.settings, args.purpose, args.environment.names.owner
        adopted = f"{settings.account_id}/{settings.bucket}/default" if settings.adopt else None
        bucket = cloudflare.R2Bucket(
            f"{purpose.resource}-bucket",
            account_id=settings.account_id,
            name=settings.bucket,
            opts=ResourceOptions(parent=self, protect=args.environment.protect, retain_on_delete=True, import_=adopted),
        )
        locked = cloudflare.R2BucketLock(
            f"{purpose.resource}-lock",
            account_id=settings.account_id,
            bucket_name=bucket.name,
            rules=list(lock(purpose.rules)),
            opts=ResourceOptions(parent=self, retain_on_delete=True),
        )
        resource = f"com.cloudflare.edge.r2.bucket.{settings.account_id}_default_{settings.bucket}"
        token = cloudflare.AccountToken(
            f"{purpose.resource}-token",
            account_id=settings.account_id,
            name=purpose.token,
            policies=[
                cloudflare.AccountTokenPolicyArgs(
                    effect="allow",
                    permission_groups=[cloudflare.AccountTokenPolicyPermissionGroupArgs(id=args.ids.write_group)],
                    # As Cloudflare writes it: the plugin records the answer's text, and any other would be a change.
                    resources=json.dumps({resource: "*"}, separators=(",", ":")),
                )
            ],
            opts=ResourceOptions(parent=self, depends_on=[locked], additional_secret_outputs=["value"]),
        )
        # https://developers.cloudflare.com/r2/api/tokens/#get-s3-api-credentials-from-an-api-token
        self.access_key = token.id
        self.secret_key = pulumi.Output.secret(
            token.value.apply(lambda value: hashlib.sha256(value.encode()).hexdigest())
        )
        RegistryItem(
            f"{purpose.resource}-item",
            vault=args.item.vault,
            title=args.item.title,
            item=args.item.item,
            username=self.access_key,
            password=self.secret_key,
            token_name=purpose.token,
            owner=f"{owner}",
            setting=f"{purpose.key}.item",
            opts=ResourceOptions(parent=self),
        )
        self.register_outputs({"bucket": bucket.name})


def lock(rules: Iterable[LockRule]) -> Iterator[cloudflare.R2BucketLockRuleArgs]:
    """The rules in the form that the provider takes."""
    for rule in rules:
        condition = cloudflare.R2BucketLockRuleConditionArgs(type="Indefinite")
        if rule.seconds is not None:
            condition = cloudflare.R2BucketLockRuleConditionArgs(type="Age", max_age_seconds=rule.seconds)
        yield cloudflare.R2BucketLockRuleArgs(id=rule.id, enabled=rule.enabled, prefix=rule.prefix, condition=condition)


def bucket_keys(
    settings: BucketSettings,
    secrets: BucketSecrets,
    purpose: Purpose,
    *,
    environment: Environment,
    ids: R2Ids | None,
    opts: ResourceOptions,
) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
    """The bucket's two S3 keys, either from 1Password or from the bucket, which this function then creates.

    `ids` are what `look_up` found for a bucket to create. Raises ValueError without keys and without such a bucket.
    """
    if settings.r2 and ids and secrets.item:
        args = OffsiteBucketArgs(
            settings=settings.r2, environment=environment, purpose=purpose, ids=ids, item=secrets.item
        )
        bucket = OffsiteBucket(f"{purpose.resource}-bucket", args, opts)
        return bucket.access_key, bucket.secret_key
    if secrets.access_key is None or secrets.secret_key is None:
        raise ValueError("read_secrets gave no keys, and look_up no bucket to make")
    return secrets.access_key, secrets.secret_key
