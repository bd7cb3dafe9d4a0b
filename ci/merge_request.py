"""The comment that a job leaves on its merge request."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import requests
from gitlab.exceptions import GitlabCreateError

from lookups.deploy_tokens import client

_PAUSE: Final = 1.0  # second
_SERVER_ERROR: Final = 500


def put_comment(environment: Mapping[str, str], *, marker: str, body: str) -> None:
    """Edits the existing comment with `marker`, or adds one; `body` begins with `marker`.

    `environment` is the job's, with an access token (scope api, role Reporter) in GITLAB_NOTE_TOKEN, because a job's
    own CI_JOB_TOKEN may not write notes (gitlab-org/gitlab#464591). Raises `GitlabError`, and `OSError` if there is no
    connection to GitLab.
    """
    server = client(environment["CI_SERVER_URL"], environment["GITLAB_NOTE_TOKEN"])
    server.auth()
    assert server.user is not None  # noqa: S101 - set by `auth`, which raises otherwise
    project = server.projects.get(environment["CI_PROJECT_ID"], lazy=True)
    notes = project.mergerequests.get(environment["CI_MERGE_REQUEST_IID"], lazy=True).notes
    for last in (False, False, True):
        # Oldest first, because the comment is among the first. Another user's comment with the marker cannot be edited.
        written = notes.list(iterator=True, sort="asc", order_by="created_at", per_page=100)
        own = (one for one in written if one.author["id"] == server.user.id)
        mine = next((one for one in own if one.body.startswith(marker)), None)
        if mine is not None:
            if mine.body != body:
                notes.update(mine.id, {"body": body})
            return
        try:
            notes.create({"body": body}, retry_transient_errors=False)
        except (GitlabCreateError, requests.ConnectionError) as error:
            # GitLab may have created it anyway, so look before trying again: a blind retry would create a second one.
            if last or (isinstance(error, GitlabCreateError) and (error.response_code or 0) < _SERVER_ERROR):
                raise
            time.sleep(_PAUSE)
        else:
            return
