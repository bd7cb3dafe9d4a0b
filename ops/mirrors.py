"""Finds and compares the push mirrors of the app's project, and has them push now."""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any, Final

from gitlab.exceptions import GitlabHttpError
from gitlab.v4.objects import Project, ProjectRemoteMirror

PATIENCE: Final = 600.0
"""Seconds for a push, which GitLab makes in the background.

If another one began within the last five minutes, GitLab begins it in five minutes (its app/models/remote_mirror.rb).
"""
_AGAIN: Final = 2.0  # seconds between two requests
_PORTS: Final = {"ssh": ":22", "https": ":443", "http": ":80"}
_BAD_REQUEST: Final = 400


class MirrorError(Exception):
    """There is no mirror that pushes, or its push failed; the message says why."""


def push_mirrors(project: Project, url: str) -> list[ProjectRemoteMirror]:
    """The project's push mirrors to the repository at `url`, whatever scheme and user they use.

    Mirrors with exactly this URL come first. GitLab shows the user `git`, and hides other users and all passwords.
    """
    found = [one for one in project.remote_mirrors.list(iterator=True) if _place(one.url) == _place(url)]
    return sorted(found, key=lambda one: bool(one.url != url))


def _place(url: str) -> tuple[str, str]:
    """Host and repository, normalised: GitHub ignores upper and lower case and a final `.git`."""
    host, _, path = url.rpartition("://")[2].rpartition("@")[2].casefold().partition("/")
    return host.removesuffix(_PORTS.get(url.partition("://")[0], "")), path.rstrip("/").removesuffix(".git")


def fingerprint(host_key: str) -> str:
    """SHA-256 of the key in a known_hosts line, in base64 without padding."""
    digest = hashlib.sha256(base64.b64decode(host_key.rsplit(maxsplit=1)[-1])).digest()
    return bare(base64.b64encode(digest).decode())


def bare(shown: str) -> str:
    """A fingerprint that GitLab shows, in the form that `fingerprint` returns."""
    return shown.removeprefix("SHA256:").rstrip("=")


def push_now(project: Project, url: str, *, patience: float = PATIENCE) -> str:
    """Has GitLab push to `url` and waits for the end; returns when that was. Raises `MirrorError`."""
    mirror = next((one for one in push_mirrors(project, url) if one.url == url), None)
    if mirror is None:
        raise MirrorError(f"the project has no push mirror to {url}: run `pulumi up`")
    path = f"/projects/{project.encoded_id}/remote_mirrors/{mirror.id}"
    server = project.manager.gitlab
    try:
        server.http_post(f"{path}/sync")
    except GitlabHttpError as error:
        if error.response_code != _BAD_REQUEST:
            raise
        raise MirrorError(f"GitLab does not push: {error.error_message}") from None
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        now: Any = server.http_get(path)
        if now["update_status"] in {"finished", "failed"} and now["last_update_at"] != mirror.last_update_at:
            if now["last_error"] or now["update_status"] == "failed":
                raise MirrorError(f"the push failed: {now['last_error'] or 'GitLab gives no reason'}")
            return str(now["last_successful_update_at"])
        time.sleep(_AGAIN)
    raise MirrorError(f"the push has not ended after {patience:.0f} s: `ops verify` (push-mirror) says when it has")
