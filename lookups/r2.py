"""Looks up what a bucket of Cloudflare R2 needs, and whose a bucket is that exists, before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pulumi

from lookups.cloudflare_api import CloudflareApi, CloudflareError
from settings.offsite import R2Settings
from settings.ownership import Owner

WRITE: Final = "Workers R2 Storage Bucket Item Write"
"""Permission to read, write, list and delete objects in the buckets that a token names, and nothing else.
https://developers.cloudflare.com/r2/api/tokens/#permission-groups"""

DAY: Final = 24 * 3600
BUCKET: Final = "offsite_bucket"
"""Stack output that names the bucket that `up` made."""
_R2_EDIT: Final = "Account > Workers R2 Storage: Edit"
_TOKENS_EDIT: Final = "Account > Account API Tokens: Edit"
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class LockRule:
    """What nobody deletes or overwrites in the bucket."""

    id: str
    prefix: str
    """Of the objects' names."""
    seconds: int | None
    """After the upload of an object; None: for good."""


def lock_rules(r2: R2Settings, folder: str, mark: str) -> Iterator[LockRule]:
    """What is locked of restic's repository in `folder` of the bucket, and for how long; the ids say whose the lock is.

    For good what opens it, which is written once. For `lockDays` the copies and their data. Not its locks, which each
    run removes, and not the indexes, which a prune replaces: `restic repair index` makes them again from the data.
    """
    for part in ("config", "keys/"):
        yield LockRule(id=f"{mark}: {part}", prefix=f"{folder}/{part}", seconds=None)
    for part in ("snapshots/", "data/"):
        yield LockRule(id=f"{mark}: {part}", prefix=f"{folder}/{part}", seconds=r2.lock_days * DAY)


class R2Error(pulumi.RunError):
    """The bucket or its token cannot be made; the message lists every problem."""


@dataclass(frozen=True, kw_only=True)
class R2Ids:
    """What the account has."""

    write_group: str
    """Id of the permission group `WRITE`."""


def look_up(r2: R2Settings, owner: Owner, *, recorded: str | None) -> R2Ids:
    """Plain, blocking look-ups; raises `R2Error` with everything that is wrong.

    `recorded` is the stack's output `BUCKET`. Where it does not say so, a bucket with this stack's lock may be in the
    state all the same, after an `up` that failed, or be what a `destroy` left: that is a warning.

    A token that may read and not edit passes here, and is refused at the first write.
    """
    api, problems = CloudflareApi(), list[str]()
    account = f"/accounts/{r2.account_id}"

    def attempt(what: str, permission: str, run: Callable[[], _T]) -> _T | None:
        try:
            return run()
        except CloudflareError as error:
            problems.append(f"{what}: {error.with_permission(permission)}")
        return None

    wrong = attempt(f"bucket {r2.bucket!r}", _R2_EDIT, lambda: _bucket_problem(r2, owner, account, api, recorded))
    if wrong:
        problems.append(f"bucket {r2.bucket!r}: {wrong}")
    # Not in pages, and so not by `list_all`.
    groups: Any = attempt("API tokens", _TOKENS_EDIT, lambda: api.get(f"{account}/tokens/permission_groups"))
    found = [str(one["id"]) for one in groups or () if one.get("name") == WRITE]
    if groups is not None and not found:
        problems.append(f"API tokens: the account has no permission {WRITE!r}: enable R2 in the dashboard")
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise R2Error(f"backup.s3.r2 cannot be set up. Nothing was created or changed.\n{listed}")
    return R2Ids(write_group=found[0])


def _bucket_problem(r2: R2Settings, owner: Owner, account: str, api: CloudflareApi, recorded: str | None) -> str | None:
    """Why the bucket is not this stack's to write to. The ids of its lock's rules say whose it is."""
    path = f"{account}/r2/buckets/{r2.bucket}"
    try:
        api.get(path)
    except CloudflareError as error:
        if error.status != 404:
            raise
        return "it does not exist: remove backup.s3.r2.adopt" if r2.adopt else None
    rules: list[dict[str, Any]] = api.get(f"{path}/lock").get("rules") or []
    ids = [str(rule["id"]) for rule in rules]
    others = [id_ for id_ in ids if Owner.marked(id_) != owner]
    if others:
        return f"it has rules that are not this stack's and would be lost, {', '.join(map(repr, others))}: name another"
    if r2.adopt or (ids and recorded == r2.bucket):
        return None
    if not ids:
        return "it exists, and is not this stack's: name another, or set backup.s3.r2.adopt to true to take it over"
    pulumi.log.warn(
        f"bucket {r2.bucket!r}: it exists, with this stack's lock. Unless it is in the state, `up` ends with "
        "Cloudflare's refusal of a second one (10004): set backup.s3.r2.adopt to true to go on with it"
    )
    return None
