"""The buckets that `up` created outside the cluster: only their keys can read them, and their locks are right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cloudflare

from lookups.r2 import DAY, LockRule, lock_rules
from ops.verify.check import Check
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from settings.bucket import ARCHIVE, COPIES, R2BucketSettings
from settings.offsite import R2Settings, S3Settings


def copies(systems: Systems) -> str:
    """The bucket exists, its lock lasts as long as the stack file says, and no address on the internet leads to it."""
    s3, r2 = _sections(systems)
    locked = {rule.id: rule for rule in _rules(systems, r2, lost="the copies")}
    wanted = lock_rules(r2, s3.folder(systems.names.namespace), f"{systems.names.owner.mark}")
    wrong = [problem for rule in wanted if (problem := _lacks(rule, locked.get(rule.id)))]
    if wrong:
        raise CheckError(f"{r2.bucket}: {'; '.join(wrong)}: anyone with its key could delete copies", systems.up)
    _check_not_public(systems, r2)
    return f"{r2.bucket} is locked for {r2.lock_days} days, and not public"


def archive(systems: Systems) -> str:
    """The bucket exists, no lock blocks the archive, and no address on the internet leads to it."""
    r2 = systems.settings.r2[ARCHIVE]
    if locked := [rule for rule in _rules(systems, r2, lost="the archive") if rule.enabled]:
        raise CheckError(
            f"{r2.bucket} is locked by {', '.join(repr(rule.id) for rule in locked)}: a segment that is uploaded again "
            "is refused, and so is what the retention deletes",
            "in the dashboard, R2, the bucket's settings: delete these rules",
        )
    _check_not_public(systems, r2)
    return f"{r2.bucket} is not locked, and not public"


def _rules(systems: Systems, r2: R2BucketSettings, *, lost: str) -> Iterator[Any]:
    """The rules of the bucket's lock."""
    buckets = systems.cloudflare.r2.buckets
    try:
        buckets.get(r2.bucket, account_id=r2.account_id)
    except cloudflare.NotFoundError:
        raise CheckError(f"there is no bucket {r2.bucket}: {lost} in it are gone", systems.up) from None
    yield from buckets.locks.get(r2.bucket, account_id=r2.account_id).rules or ()


def _check_not_public(systems: Systems, r2: R2BucketSettings) -> None:
    domains = systems.cloudflare.r2.buckets.domains
    own = domains.custom.list(r2.bucket, account_id=r2.account_id).domains
    managed = domains.managed.list(r2.bucket, account_id=r2.account_id)
    shown = [one.domain for one in own if one.enabled]
    shown += [managed.domain] if managed.enabled else []
    if shown:
        fix = "in the dashboard, R2, the bucket's settings: disable the r2.dev address, and remove custom domains"
        raise CheckError(f"{r2.bucket} can be read without a key, at {', '.join(shown)}", fix)


def _lacks(wanted: LockRule, found: Any) -> str | None:
    """In what the lock falls short of a wanted rule; None if it does not."""
    if found is None:
        return f"{wanted.prefix} is not locked"
    if not found.enabled:
        return f"the lock of {wanted.prefix} is disabled"
    # An empty prefix matches every object.
    if not wanted.prefix.startswith(found.prefix or ""):
        return f"the lock of {wanted.prefix} is one of {found.prefix}"
    if found.condition.type == "Indefinite":
        return None
    seconds = getattr(found.condition, "max_age_seconds", 0)  # none in a lock until a date: that is for older uploads
    if wanted.seconds is None:
        return f"{wanted.prefix} is not locked indefinitely"
    if seconds < wanted.seconds:
        return f"{wanted.prefix} is locked for {seconds / DAY:g} days, not {wanted.seconds // DAY}"
    return None


def _sections(systems: Systems) -> tuple[S3Settings, R2Settings]:
    s3 = systems.settings.s3
    assert s3 is not None  # noqa: S101 - `Check.applies` leaves out what the stack has no section for
    assert s3.r2 is not None  # noqa: S101 - the same
    return s3, s3.r2


CHECKS = (
    Check(name="offsite-bucket", look=copies, applies=lambda settings: COPIES in settings.r2),
    Check(name="wal-bucket", look=archive, applies=lambda settings: ARCHIVE in settings.r2),
)
