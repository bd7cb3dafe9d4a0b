"""How GitLab answers what it does not carry out."""

from __future__ import annotations

import datetime as dt
from typing import Any

from rehearsal.homelab import GITLAB

Body = dict[str, Any]


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
