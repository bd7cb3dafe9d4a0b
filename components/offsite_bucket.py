"""OffsiteBucket: a bucket of Cloudflare R2 for the off-site copies, its lock, and the only key that may use it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pulumi
from pulumi import ResourceOptions

from components.environment import Environment
from components.registry_item import RegistryItem
from lookups.onepassword import ItemPlace
from lookups.r2 import R2Ids, lock_rules
from sdks import cloudflare
from settings.names import PROGRAM
from settings.offsite import R2Settings

MARGIN: Final = 2
"""Days for which a copy is kept longer than the lock: a backup may be uploaded that much after it was taken."""


@dataclass(frozen=True, kw_only=True)
class OffsiteBucketArgs:
    """The section of the stack file, and what was looked up for it."""

    settings: R2Settings
    environment: Environment
    folder: str
    """Of restic's repository in the bucket."""
    ids: R2Ids
    item: ItemPlace
    """Where people find the key."""


class OffsiteBucket(pulumi.ComponentResource):
    """The bucket. It stays after `destroy`, with its lock: what it holds is what is left then."""

    access_key: pulumi.Output[str]
    secret_key: pulumi.Output[str]
    """Both of S3, and known once the bucket is locked."""

    def __init__(self, name: str, args: OffsiteBucketArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(f"{PROGRAM}:offsite_bucket:OffsiteBucket", name, None, opts)
        settings, owner = args.settings, args.environment.names.owner
        adopted = f"{settings.account_id}/{settings.bucket}/default" if settings.adopt else None
        bucket = cloudflare.R2Bucket(
            "offsite-bucket",
            account_id=settings.account_id,
            name=settings.bucket,
            opts=ResourceOptions(parent=self, protect=args.environment.protect, retain_on_delete=True, import_=adopted),
        )
        lock = cloudflare.R2BucketLock(
            "offsite-lock",
            account_id=settings.account_id,
            bucket_name=bucket.name,
            rules=list(rules(settings, args.folder, f"{owner.mark}")),
            opts=ResourceOptions(parent=self, retain_on_delete=True),
        )
        resource = f"com.cloudflare.edge.r2.bucket.{settings.account_id}_default_{settings.bucket}"
        token = cloudflare.AccountToken(
            "offsite-token",
            account_id=settings.account_id,
            name=args.environment.names.offsite_token,
            policies=[
                cloudflare.AccountTokenPolicyArgs(
                    effect="allow",
                    permission_groups=[cloudflare.AccountTokenPolicyPermissionGroupArgs(id=args.ids.write_group)],
                    resources=json.dumps({resource: "*"}),
                )
            ],
            opts=ResourceOptions(parent=self, depends_on=[lock], additional_secret_outputs=["value"]),
        )
        # https://developers.cloudflare.com/r2/api/tokens/#get-s3-api-credentials-from-an-api-token
        self.access_key = token.id
        self.secret_key = pulumi.Output.secret(
            token.value.apply(lambda value: hashlib.sha256(value.encode()).hexdigest())
        )
        RegistryItem(
            "offsite-item",
            vault=args.item.vault,
            title=args.item.title,
            item=args.item.item,
            username=self.access_key,
            password=self.secret_key,
            token_name=args.environment.names.offsite_token,
            owner=f"{owner}",
            setting="backup.s3.r2.item",
            opts=ResourceOptions(parent=self),
        )
        self.register_outputs({"bucket": bucket.name})


def rules(settings: R2Settings, folder: str, mark: str) -> Iterator[cloudflare.R2BucketLockRuleArgs]:
    """`lookups.r2.lock_rules` for the provider."""
    for rule in lock_rules(settings, folder, mark):
        condition = cloudflare.R2BucketLockRuleConditionArgs(type="Indefinite")
        if rule.seconds is not None:
            condition = cloudflare.R2BucketLockRuleConditionArgs(type="Age", max_age_seconds=rule.seconds)
        yield cloudflare.R2BucketLockRuleArgs(id=rule.id, enabled=True, prefix=rule.prefix, condition=condition)
