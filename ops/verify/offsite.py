"""The bucket of the off-site copies that `up` made: it is locked, and only its key reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cloudflare

from lookups.r2 import DAY, lock_rules
from ops.verify.check import Check
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from settings.offsite import R2Settings, S3Settings


def bucket(systems: Systems) -> str:
    """It exists, its lock holds as long as the stack file says, and no address on the internet leads to it."""
    s3, r2 = _sections(systems)
    buckets, account = systems.cloudflare.r2.buckets, r2.account_id
    try:
        buckets.get(r2.bucket, account_id=account)
    except cloudflare.NotFoundError:
        raise CheckError(f"there is no bucket {r2.bucket}: the copies in it are gone", systems.up) from None
    locked = {rule.id: rule for rule in buckets.locks.get(r2.bucket, account_id=account).rules or ()}
    mark = f"{systems.names.owner.mark}"
    wrong = list(_missing(r2, s3.folder(systems.names.namespace), mark, locked))
    if wrong:
        raise CheckError(f"{r2.bucket}: {'; '.join(wrong)}: whoever has its key could delete copies", systems.up)
    own, managed = buckets.domains.custom, buckets.domains.managed.list(r2.bucket, account_id=account)
    shown = [one.domain for one in own.list(r2.bucket, account_id=account).domains if one.enabled]
    shown += [managed.domain] if managed.enabled else []
    if shown:
        fix = "in the dashboard, R2, the bucket's settings: disable the r2.dev address, and remove custom domains"
        raise CheckError(f"{r2.bucket} can be read without a key, at {', '.join(shown)}", fix)
    return f"{r2.bucket} is locked for {r2.lock_days} days, and not public"


def _missing(r2: R2Settings, folder: str, mark: str, locked: dict[str, Any]) -> Iterator[str]:
    """What its lock lacks."""
    for wanted in lock_rules(r2, folder, mark):
        found = locked.get(wanted.id)
        if found is None:
            yield f"{wanted.prefix} is not locked"
        elif not found.enabled:
            yield f"the lock of {wanted.prefix} is disabled"
        # An empty prefix is that of every object.
        elif not wanted.prefix.startswith(found.prefix or ""):
            yield f"the lock of {wanted.prefix} is one of {found.prefix}"
        elif found.condition.type != "Indefinite":
            seconds = getattr(found.condition, "max_age_seconds", 0)  # until a day: for what was uploaded long before
            if wanted.seconds is None:
                yield f"{wanted.prefix} is not locked for good"
            elif seconds < wanted.seconds:
                yield f"{wanted.prefix} is locked for {seconds / DAY:g} days, not {wanted.seconds // DAY}"


def _sections(systems: Systems) -> tuple[S3Settings, R2Settings]:
    s3, r2 = systems.settings.s3, systems.settings.r2
    assert s3 is not None  # noqa: S101 - `Check.applies` leaves out what the stack has no section for
    assert r2 is not None  # noqa: S101 - the same
    return s3, r2


CHECKS = (Check(name="offsite-bucket", look=bucket, applies=lambda settings: settings.r2 is not None),)
