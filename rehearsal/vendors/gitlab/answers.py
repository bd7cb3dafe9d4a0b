"""GitLab's refusals, and what its answers have in common."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from rehearsal.homelab import GITLAB

Body = dict[str, Any]

_ACCESS_LEVELS: Final = {0: "No one", 30: "Developers + Maintainers", 40: "Maintainers", 60: "Administrators"}


class RefusedError(Exception):
    """GitLab's answer to a request that it refuses."""

    def __init__(self, status: int, body: Body) -> None:
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body


def invalid(**reasons: str) -> RefusedError:
    """A failed model validation: `{"message": {"name": ["has already been taken"]}}`."""
    return RefusedError(400, {"message": {name: [reason] for name, reason in reasons.items()}})


def missing(what: str = "") -> RefusedError:
    """A 404 with GitLab's message: `404 Variable Not Found`."""
    return RefusedError(404, {"message": f"404 {what} Not Found".replace("  ", " ")})


def now() -> str:
    """The current time in GitLab's format."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def user(id_: int) -> Body:
    """A user as GitLab shows the author of an object."""
    names = {"username": f"user-{id_}", "name": f"User {id_}"}
    return {"id": id_, **names, "state": "active", "avatar_url": None, "web_url": f"https://{GITLAB}/user-{id_}"}


def required(body: Body, *names: str) -> None:
    """Refuses a request that lacks one of these parameters, with Grape's message."""
    absent = [name for name in names if body.get(name) in (None, "", [])]
    if absent:
        raise RefusedError(400, {"error": ", ".join(f"{name} is missing" for name in absent)})


def access_level(id_: int, level: int) -> Body:
    """One role that may act on a protected object."""
    if level not in _ACCESS_LEVELS:
        raise RefusedError(400, {"error": "access_level does not have a valid value"})
    return {"id": id_, "access_level": level, "access_level_description": _ACCESS_LEVELS[level]}


class Collection:
    """Objects of a project that are listed, shown and deleted by id or name, whichever `key` says."""

    key: ClassVar[str] = "id"
    kind: ClassVar[str] = ""
    """GitLab's name of the object in a 404."""

    def __init__(self, ids: Iterator[int]) -> None:
        self._ids = ids
        self._entries: dict[str, Body] = {}

    def entries(self, _query: Body) -> list[Body]:
        return list(self._entries.values())

    def get(self, key: str) -> Body:
        try:
            return self._entries[key]
        except KeyError:
            raise missing(self.kind) from None

    def delete(self, key: str) -> None:
        del self._entries[str(self.get(key)[self.key])]

    def _add(self, entry: Body) -> Body:
        self._entries[str(entry[self.key])] = entry
        return entry
