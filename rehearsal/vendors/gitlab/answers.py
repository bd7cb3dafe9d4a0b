"""How GitLab answers what it does not carry out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any, ClassVar, Final

from rehearsal.homelab import GITLAB

Body = dict[str, Any]

_ACCESS_LEVELS: Final = {0: "No one", 30: "Developers + Maintainers", 40: "Maintainers", 60: "Administrators"}


class RefusedError(Exception):
    """GitLab's answer to a request that it does not carry out."""

    def __init__(self, status: int, body: Body) -> None:
        super().__init__(f"{status} {body}")
        self.status, self.body = status, body


def invalid(**reasons: str) -> RefusedError:
    """A model validation that failed: `{"message": {"name": ["has already been taken"]}}`."""
    return RefusedError(400, {"message": {name: [reason] for name, reason in reasons.items()}})


def missing(what: str = "") -> RefusedError:
    """404 as GitLab words it: `404 Variable Not Found`."""
    return RefusedError(404, {"message": f"404 {what} Not Found".replace("  ", " ")})


def now() -> str:
    """The time as GitLab writes it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def user(id_: int) -> Body:
    """A user as GitLab shows one beside what they did."""
    names = {"username": f"user-{id_}", "name": f"User {id_}"}
    return {"id": id_, **names, "state": "active", "avatar_url": None, "web_url": f"https://{GITLAB}/user-{id_}"}


def required(body: Body, *names: str) -> None:
    """Refuses a request without one of these parameters, in Grape's words."""
    absent = [name for name in names if body.get(name) in (None, "", [])]
    if absent:
        raise RefusedError(400, {"error": ", ".join(f"{name} is missing" for name in absent)})


def access_level(id_: int, level: int) -> Body:
    """One role that may do something with what is protected."""
    if level not in _ACCESS_LEVELS:
        raise RefusedError(400, {"error": "access_level does not have a valid value"})
    return {"id": id_, "access_level": level, "access_level_description": _ACCESS_LEVELS[level]}


class Collection:
    """What a project has several of: listed, shown and deleted by id or by name, whichever `key` says."""

    key: ClassVar[str] = "id"
    kind: ClassVar[str] = ""
    """GitLab's word for one in a 404."""

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
