"""What a GitLab project holds for reviewers: merge requests, but only their comments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rehearsal.vendors.gitlab.answers import Body, RefusedError, missing, now, required
from rehearsal.vendors.gitlab.answers import user as author

_LONGEST: Final = 1_000_000  # characters of a note (docs.gitlab.com, "Instance limits")


class MergeRequests:
    """`/projects/:id/merge_requests`: their notes, which are GitLab's comments."""

    def __init__(self, ids: Iterator[int], *, project: int) -> None:
        self._ids, self._project = ids, project
        self._notes: dict[int, dict[int, Body]] = {}

    def open(self) -> int:
        """Opens a merge request; returns its number within the project (iid)."""
        iid = len(self._notes) + 1
        self._notes[iid] = {}
        return iid

    def notes(self, iid: str, query: Body) -> list[Body]:
        """The notes of a merge request, newest first unless `sort` says otherwise."""
        notes = list(self._of(iid).values())
        return notes if query.get("sort") == "asc" else notes[::-1]

    def create(self, iid: str, body: Body, *, user: int) -> Body:
        notes = self._of(iid)
        note: Body = {
            "id": next(self._ids),
            "type": None,
            "author": author(user),
            "created_at": now(),
            "system": False,
            "noteable_id": 1000 + int(iid),
            "noteable_type": "MergeRequest",
            "project_id": self._project,
            "resolvable": False,
            "confidential": False,
            "internal": False,
            "imported": False,
            "imported_from": "none",
            "noteable_iid": int(iid),
            "commands_changes": {},
        }
        self._write(note, body)
        notes[note["id"]] = note
        return note

    def update(self, iid: str, id_: str, body: Body, *, user: int, maintainer: bool) -> Body:
        try:
            note = self._of(iid)[int(id_)]
        except (KeyError, ValueError):
            raise missing("Note") from None
        if note["author"]["id"] != user and not maintainer:
            raise RefusedError(403, {"message": "403 Forbidden"})
        self._write(note, body)
        return note

    def _of(self, iid: str) -> dict[int, Body]:
        try:
            return self._notes[int(iid)]
        except (KeyError, ValueError):
            raise missing() from None

    @staticmethod
    def _write(note: Body, body: Body) -> None:
        required(body, "body")
        if len(body["body"]) > _LONGEST:
            reason = f'Note {{note: ["is too long (maximum is {_LONGEST} characters)"]}}'
            raise RefusedError(400, {"message": f"400 Bad request - {reason}"})
        note |= {"body": body["body"], "updated_at": now()}
