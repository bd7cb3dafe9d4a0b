"""Looks up what Cloudflare R2 buckets need, and who owns an existing bucket, before anything is created."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import pulumi

from lookups.cloudflare_api import CloudflareApi, CloudflareError
from settings.bucket import ARCHIVE, COPIES, R2BucketSettings
from settings.offsite import R2Settings
from settings.ownership import Owner

WRITE: Final = "Workers R2 Storage Bucket Item Write"
"""Permission to read, write, list and delete objects in the buckets that a token names, and nothing else.
https://developers.cloudflare.com/r2/api/tokens/#permission-groups"""

DAY: Final = 24 * 3600
OUTPUTS: Final = {COPIES: "offsite_bucket", ARCHIVE: "wal_bucket"}
"""Stack outputs with the names of the buckets that `up` created, by their keys in the stack file."""
_R2_EDIT: Final = "Account > Workers R2 Storage: Edit"
_TOKENS_EDIT: Final = "Account > Account API Tokens: Edit"
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class LockRule:
    """Objects in the bucket that nobody can delete or overwrite."""

    id: str
    prefix: str
    """Prefix of the objects' names."""
    seconds: int | None
    """How long, from the upload of an object; None for ever."""
    enabled: bool = True


def lock_rules(r2: R2Settings, folder: str, mark: str) -> Iterator[LockRule]:
    """The parts of restic's repository in `folder` that are locked, and for how long; the ids name the lock's owner.

    What opens the repository is written once and locked for ever. The copies and their data are locked for `lockDays`.
    Not locked are restic's own locks, which each run removes, and the indexes, which a prune replaces:
    `restic repair index` rebuilds them from the data.
    """
    for part in ("config", "keys/"):
        yield LockRule(id=f"{mark}: {part}", prefix=f"{folder}/{part}", seconds=None)
    for part in ("snapshots/", "data/"):
        yield LockRule(id=f"{mark}: {part}", prefix=f"{folder}/{part}", seconds=r2.lock_days * DAY)


def no_lock(mark: str) -> Iterator[LockRule]:
    """The only rule of an archive's bucket, a disabled one: its id names the bucket's owner.

    barman-cloud uploads a segment again if the answer was lost. A lock would refuse that, and PostgreSQL would keep
    every unarchived segment until its volume is full.
    """
    yield LockRule(id=f"{mark}: not locked", prefix="", seconds=DAY, enabled=False)


class R2Error(pulumi.RunError):
    """The buckets or their tokens cannot be created; the message lists every problem."""


@dataclass(frozen=True, kw_only=True)
class R2Ids:
    """Ids in an account."""

    write_group: str
    """Id of the permission group `WRITE`."""


def look_up(r2: Mapping[str, R2BucketSettings], owner: Owner, *, outputs: Mapping[str, Any]) -> dict[str, R2Ids]:
    """Plain, blocking look-ups for buckets by their keys in the stack file; R2Error lists everything that is wrong.

    `outputs` are the stack's outputs, with `OUTPUTS`. If they do not name a bucket that has this stack's mark, the
    bucket may still be in the state, after a failed `up`, or be left over from a `destroy`: that is a warning.

    A token that may read but not edit passes here, and Cloudflare refuses it at the first write.
    """
    api, problems = CloudflareApi(), list[str]()

    def attempt(what: str, permission: str, run: Callable[[], _T]) -> _T | None:
        try:
            return run()
        except CloudflareError as error:
            problems.append(f"{what}: {error.with_permission(permission)}")
        return None

    for key, one in r2.items():
        bucket, recorded = _Bucket(key, one, owner, api), outputs.get(OUTPUTS[key])
        if wrong := attempt(f"bucket {one.bucket!r}", _R2_EDIT, partial(bucket.problem, recorded)):
            problems.append(f"bucket {one.bucket!r}: {wrong}")
    ids: dict[str, R2Ids] = {}
    for account in sorted({one.account_id for one in r2.values()}):
        path = f"/accounts/{account}/tokens/permission_groups"
        # This list has no pages, so `list_all` cannot read it.
        groups: Any = attempt("API tokens", _TOKENS_EDIT, partial(api.get, path))
        found = [str(group["id"]) for group in groups or () if group.get("name") == WRITE]
        if found:
            ids[account] = R2Ids(write_group=found[0])
        elif groups is not None:
            problems.append(f"API tokens: the account has no permission {WRITE!r}: enable R2 in the dashboard")
    if problems:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise R2Error(f"{' and '.join(r2)} cannot be set up. Nothing was created or changed.\n{listed}")
    return {key: ids[one.account_id] for key, one in r2.items()}


@dataclass(frozen=True)
class _Bucket:
    key: str
    settings: R2BucketSettings
    owner: Owner
    api: CloudflareApi

    def problem(self, recorded: str | None) -> str | None:
        """Why this stack must not write to the bucket. The ids of its lock's rules name its owner."""
        r2 = self.settings
        path = f"/accounts/{r2.account_id}/r2/buckets/{r2.bucket}"
        try:
            self.api.get(path)
        except CloudflareError as error:
            if error.status != 404:
                raise
            return f"it does not exist: remove {self.key}.adopt" if r2.adopt else None
        rules: list[dict[str, Any]] = self.api.get(f"{path}/lock").get("rules") or []
        ids = [str(rule["id"]) for rule in rules]
        others = [id_ for id_ in ids if Owner.marked(id_) != self.owner]
        if others:
            return (
                f"it has rules that are not this stack's and would be lost, {', '.join(map(repr, others))}: "
                "name another"
            )
        if self.key == ARCHIVE and any(rule["enabled"] for rule in rules):
            return "it is locked, as that of the off-site copies is, which may be in it: name another"
        if r2.adopt or (ids and recorded == r2.bucket):
            return None
        if not ids:
            return f"it exists, and is not this stack's: name another, or set {self.key}.adopt to true to take it over"
        pulumi.log.warn(
            f"bucket {r2.bucket!r}: it exists, with this stack's mark. Unless it is in the state, `up` ends with "
            f"Cloudflare's refusal of a second one (10004): set {self.key}.adopt to true to use it again"
        )
        return None
