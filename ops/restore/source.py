"""What `ops restore` restores, checked on this machine before the command touches anything in the cluster."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from ops.backups import LATEST
from settings.names import Names

_OFFSITE: Final = "s3:"
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d)?) ?(Z|UTC|[+-](?:0\d|1[0-4]):[0-5]\d)?")
_EXAMPLE_TIME: Final = "2026-11-20 14:05"
_BACKUP: Final = r"({}|before-restore|recovered)-\d{{6}}-\d{{8}}T\d{{6}}Z"
# With the longest project and `_look_` before it, within PostgreSQL's 63 bytes.
_LOOK: Final = re.compile(r"[a-z][a-z0-9_]{0,19}")
# pg_backup_archiver.c, ReadHead: magic, three bytes of version, sizes of int and offset, then the format.
_MAGIC: Final = b"PGDMP"
_FORMAT_AT: Final = 10
_CUSTOM: Final = 1


class SourceError(Exception):
    """The given source cannot be restored; the message says everything that is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A backup on the backup volume or off-site, by name or by time, or a dump on this machine, by path."""

    backup: str | None = None
    """Its name, or `latest`."""
    at: dt.datetime | None = None
    """Means the newest backup taken at this time or before; `ops.restore.named` finds its name."""
    recovered: dt.datetime | None = None
    """If the backup is a dump of a recovered database, the moment of the recovery."""
    offsite: bool = False
    """Whether it has to be fetched first from the bucket of `backup.s3`."""
    file: Path | None = None
    manifest: Path | None = None
    """The manifest of a file that is a backup of this program; such a file restores owners, privileges and roles."""

    def __str__(self) -> str:
        if self.recovered:
            return f"the database as it was at {shown(self.recovered)} ({self.backup})"
        if self.file is None:
            what = "the newest backup" if self.backup == LATEST or self.at else f"the backup {self.backup}"
            if self.at:
                what += f" of {shown(self.at)} or before"
            return f"{what} from off-site" if self.offsite else what
        return f"the file {self.file} ({self.file.stat().st_size / 1e6:.1f} MB)"

    @property
    def scope(self) -> str:
        """What a restore of it brings back."""
        if self.file is None or self.manifest:
            return "a backup of this program: with its owners, privileges and roles, but without their passwords"
        return "a dump made elsewhere (no manifest.json beside it): without its owners and privileges"


def parse_source(given: str, *, names: Names, limit: int, zone: str = "Etc/UTC") -> Source:
    """A backup's name, a time in `zone`, or the path of a dump of at most `limit` bytes in pg_dump's custom format.

    Raises `SourceError`. It does not check whether a backup of this name or time exists: only the volume shows that.
    """
    name, example = given.removeprefix(_OFFSITE), f"{names.database_role}-000012-20260205T030000Z"
    if name == LATEST or re.fullmatch(_BACKUP.format(names.database_role), name):
        return Source(backup=name, offsite=name != given)
    if found := _TIME.fullmatch(name):
        try:
            return Source(at=_parse_time(*found.groups(), zone=zone), offsite=name != given)
        except ValueError as error:
            raise SourceError(f"--from {given}: {error}") from error
    if name != given:
        raise SourceError(
            f"--from {given}: {_OFFSITE} is followed by {LATEST} or the name of a backup, e.g. {_OFFSITE}{example}, or "
            f"by a time, e.g. '{_OFFSITE}{_EXAMPLE_TIME}'"
        )
    file = Path(given)
    if not file.is_file():
        raise SourceError(
            f"--from {given}: neither a file on this machine nor the name of a backup such as {example}, nor "
            f"a time such as '{_EXAMPLE_TIME}'"
        )
    try:
        with file.open("rb") as opened:
            head = opened.read(_FORMAT_AT + 1)
    except OSError as error:
        raise SourceError(f"--from {given}: cannot be read: {error.strerror}") from error
    if not head.startswith(_MAGIC) or len(head) <= _FORMAT_AT or head[_FORMAT_AT] != _CUSTOM:
        raise SourceError(f"--from {given}: no dump in pg_dump's custom format; make one with pg_dump --format=custom")
    size = file.stat().st_size
    if size > limit:
        raise SourceError(
            f"--from {given}: {size} bytes are more than the database's volume holds ({limit}, database.size)"
        )
    return Source(file=file, manifest=_manifest(file, size=size))


def parse_moment(given: str, *, zone: str) -> dt.datetime:
    """The moment that `--to` names, in `zone` unless it names another one; raises `SourceError`."""
    found = _TIME.fullmatch(given)
    if found is None:
        raise SourceError(f"--to {given}: not a time such as '{_EXAMPLE_TIME}'")
    try:
        return _parse_time(*found.groups(), zone=zone)
    except ValueError as error:
        raise SourceError(f"--to {given}: {error}") from error


def shown(time: dt.datetime) -> str:
    """A time in UTC, as in the names of backups; if it was given in another zone, in that one, too."""
    utc, given = f"{time.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S} UTC", f"{time:%Y-%m-%d %H:%M:%S %Z}"
    return utc if not time.utcoffset() else f"{given} ({utc})"


def _parse_time(text: str, offset: str | None, *, zone: str) -> dt.datetime:
    """Raises ValueError if the zone's clocks never show this time, or show it twice, and if it is in the future."""
    if offset:
        time = dt.datetime.fromisoformat(text + offset.replace("UTC", "Z"))
    else:
        time = dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))
        if time.utcoffset() != time.replace(fold=1).utcoffset():
            raise ValueError(f"the clocks change at that time in {zone} (backup.timeZone): add Z and give it in UTC")
    if time > dt.datetime.now(dt.UTC):
        raise ValueError(f"{shown(time)} is in the future; the newest backup is: {LATEST}")
    return time


def _manifest(dump: Path, *, size: int) -> Path | None:
    """The manifest beside a dump, or None; raises `SourceError` if it is another dump's."""
    manifest = dump.with_name("manifest.json")
    if not manifest.is_file():
        return None
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"--from {dump}: {manifest} beside it cannot be read: {error}") from error
    if not isinstance(found, dict) or found.get("dumpBytes") != size:
        raise SourceError(
            f"--from {dump}: {manifest} beside it describes another dump than this one of {size} bytes: put the "
            "right one there, or move it away to restore the dump without owners and privileges"
        )
    return manifest


def parse_expectation(given: str) -> str:
    """Converts `invoices=567,user=1` to the form that restore.sh takes, which compares only the named tables.

    Raises `SourceError` with everything that is wrong.
    """
    rows: dict[str, int] = {}
    wrong: list[str] = []
    for part in given.split(","):
        table, _, count = part.strip().rpartition("=")
        if not table or not count.isdecimal():
            wrong.append(f"{part.strip()!r} is not table=rows")
        elif table.startswith(("public.", '"')):
            wrong.append(f"{table} is not a plain table name: leave out quotes and the schema public")
        elif table in rows:
            wrong.append(f"{table} is given twice")
        else:
            rows[table] = int(count)
    _raise(wrong, "--expect", "invoices=567,user=1")
    return json.dumps({"rows": rows, "partial": True})


def look_complaints(option: str, name: str) -> list[str]:
    """What is wrong with the name of a database for inspection."""
    if _LOOK.fullmatch(name):
        return []
    return [f"{option} {name}: up to 20 lower-case letters, digits and '_', a letter first; e.g. lost_invoice"]


def _raise(wrong: Sequence[str], option: str, example: str) -> None:
    if wrong:
        raise SourceError(f"{option}: {'; '.join(wrong)}; it takes e.g. {example}")
