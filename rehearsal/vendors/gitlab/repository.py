"""What a GitLab project holds for its repository: push mirrors, branches, protection of branches and environments."""

from __future__ import annotations

import base64
import fnmatch
import hashlib
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from rehearsal.vendors.gitlab.answers import (
    Body,
    Collection,
    RefusedError,
    access_level,
    invalid,
    missing,
    now,
    required,
)

_MOST_HOST_KEYS: Final = 10


class Mirrors(Collection):
    """`/projects/:id/remote_mirrors`: push mirrors."""

    takes_host_keys = True
    """Whether GitLab is 18.11 or newer; older versions silently drop the parameter, as Grape does any unknown one."""

    def create(self, body: Body) -> Body:
        required(body, "url")
        mirror: Body = {
            "id": next(self._ids),
            "enabled": False,
            "url": _safe(body["url"]),
            "auth_method": "password",
            "only_protected_branches": False,
            "keep_divergent_refs": False,
            "update_status": "none",
            "last_error": None,
            "last_update_at": None,
            "last_update_started_at": None,
            "last_successful_update_at": None,
            "host_keys": [],
        }
        self._change(mirror, body)
        return self._add(mirror)

    def update(self, id_: str, body: Body) -> Body:
        mirror = self.get(id_)
        self._change(mirror, body)
        return mirror

    def public_key(self, id_: str) -> Body:
        if self.get(id_)["auth_method"] != "ssh_public_key":
            raise missing()
        return {"public_key": f"ssh-rsa {base64.b64encode(f'key of mirror {id_}'.encode()).decode()} git@gitlab"}

    def sync(self, id_: str) -> None:
        """`POST .../sync`: pushes now."""
        mirror = self.get(id_)
        if not mirror["enabled"]:
            words = "Cannot proceed with the push mirroring. Please verify your mirror configuration."
            raise RefusedError(400, {"message": words})
        self._push(mirror)

    def push(self) -> None:
        """What a push to the repository does: updates every mirror, or records why it failed."""
        for mirror in self._entries.values():
            self._push(mirror)

    @staticmethod
    def _push(mirror: Body) -> None:
        unknown = mirror["url"].startswith("ssh:") and not mirror["host_keys"]
        error = "Host key verification failed." if unknown else None
        mirror |= {"update_status": "failed" if error else "finished", "last_error": error}
        mirror |= {"last_update_at": now(), "last_update_started_at": now()}
        if error is None:
            mirror["last_successful_update_at"] = now()

    def _change(self, mirror: Body, body: Body) -> None:
        if body.get("auth_method", "password") not in {"password", "ssh_public_key"}:
            raise RefusedError(400, {"error": "auth_method does not have a valid value"})
        known = {"enabled", "auth_method", "only_protected_branches", "keep_divergent_refs", "mirror_branch_regex"}
        if self.takes_host_keys and "host_keys" in body:
            mirror["host_keys"] = [{"fingerprint_sha256": _fingerprint(key)} for key in _accepted(body["host_keys"])]
        mirror |= {key: value for key, value in body.items() if key in known}


def _accepted(keys: list[str]) -> list[str]:
    """Host keys, bare or as known_hosts lines; refuses invalid ones with GitLab's message (its HostKeysConverter)."""
    if len(keys) > _MOST_HOST_KEYS:
        raise RefusedError(400, {"message": f"too many host keys (maximum is {_MOST_HOST_KEYS})"})
    if wrong := [key for key in keys if not _is_key(key)]:
        raise RefusedError(400, {"message": f"Invalid SSH host key(s): {', '.join(wrong)}"})
    return keys


def _is_key(key: str) -> bool:
    try:
        *_, kind, blob = key.split()
        return base64.b64decode(blob, validate=True)[4 : 4 + len(kind)] == kind.encode()
    except ValueError:
        return False


def _fingerprint(key: str) -> str:
    digest = hashlib.sha256(base64.b64decode(key.rsplit(maxsplit=1)[-1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _safe(url: str) -> str:
    """The URL as GitLab shows it (`RemoteMirror#safe_url`): `*****` for a user other than git, and for a password."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https", "ssh", "git"} or not parts.hostname:
        raise invalid(url="is blocked: Only allowed schemes are http, https, ssh, git")
    host = parts.netloc.rpartition("@")[2]
    user = parts.username if parts.username == "git" else "*****" if parts.username else ""
    user += ":*****" if parts.password else ""
    return parts._replace(netloc=f"{user}@{host}" if user else host).geturl()


class Branches:
    """`/projects/:id/repository/branches` and `/projects/:id/protected_branches`."""

    def __init__(self, ids: Iterator[int], *, default: str, enterprise: bool, url: str) -> None:
        self._ids, self._default, self._enterprise, self._url = ids, default, enterprise, url
        self._commits = {default: hashlib.sha1(default.encode(), usedforsecurity=False).hexdigest()}
        self._protected: dict[str, Body] = {}
        self.protect({"name": default})  # as GitLab does for a new project

    def entries(self, _query: Body) -> list[Body]:
        return [self.get(name) for name in self._commits]

    def create(self, body: Body) -> Body:
        required(body, "branch", "ref")
        if body["branch"] in self._commits:
            raise RefusedError(400, {"message": "Branch already exists"})
        if body["ref"] not in self._commits:
            raise RefusedError(400, {"message": f"Invalid reference name: {body['ref']}"})
        self._commits[body["branch"]] = self._commits[body["ref"]]
        return self.get(body["branch"])

    def get(self, name: str) -> Body:
        if name not in self._commits:
            raise missing("Branch")
        sha = self._commits[name]
        return {
            "name": name,
            "commit": _commit(sha, self._url),
            "protected": self.protects(name),
            "default": name == self._default,
            "merged": False,
            "can_push": True,
            "developers_can_push": False,
            "developers_can_merge": False,
            "web_url": f"{self._url}/-/tree/{name}",
        }

    def delete(self, name: str) -> None:
        if self.get(name)["protected"]:
            raise RefusedError(405, {"message": "405 Method Not Allowed"})  # status and text from memory
        del self._commits[name]

    def protects(self, name: str) -> bool:
        """Whether a branch of this name is protected, by its name or a wildcard."""
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in self._protected)

    def protected_entries(self, _query: Body) -> list[Body]:
        return list(self._protected.values())

    def protect(self, body: Body) -> Body:
        required(body, "name")
        if body["name"] in self._protected:
            raise RefusedError(409, {"message": f"Protected branch '{body['name']}' already exists"})
        protection: Body = {
            "id": next(self._ids),
            "name": body["name"],
            "push_access_levels": self._levels(body, "push"),
            "merge_access_levels": self._levels(body, "merge"),
            "allow_force_push": bool(body.get("allow_force_push", False)),
            "code_owner_approval_required": False,
        }
        if self._enterprise:
            protection |= {"unprotect_access_levels": [], "inherited": False}
        self._protected[body["name"]] = protection
        return protection

    def get_protected(self, name: str) -> Body:
        try:
            return self._protected[name]
        except KeyError:
            raise missing() from None

    def update_protected(self, name: str, body: Body) -> Body:
        protection = self.get_protected(name)
        protection["allow_force_push"] = bool(body.get("allow_force_push", protection["allow_force_push"]))
        for action in ("push", "merge"):
            changes = body.get(f"allowed_to_{action}") if self._enterprise else None
            gone = {change["id"] for change in changes or [] if change.get("_destroy")}
            added = [change for change in changes or [] if not change.get("_destroy")]
            kept = [level for level in protection[f"{action}_access_levels"] if level["id"] not in gone]
            new = self._levels({f"allowed_to_{action}": added}, action) if added else []
            protection[f"{action}_access_levels"] = kept + new
        return protection

    def unprotect(self, name: str) -> None:
        del self._protected[self.get_protected(name)["name"]]

    def _levels(self, body: Body, action: str) -> list[Body]:
        # A Community Edition does not declare `allowed_to_*`, and GitLab silently drops undeclared parameters.
        granular = body.get(f"allowed_to_{action}") if self._enterprise else None
        levels = [item["access_level"] for item in granular or [{"access_level": body.get(f"{action}_access_level")}]]
        made = [access_level(next(self._ids), 40 if level is None else level) for level in levels]
        granular_only = {"user_id": None, "group_id": None} if self._enterprise else {}
        return [{**level, "deploy_key_id": None, **granular_only} for level in made]


class ProtectedEnvironments(Collection):
    """`/projects/:id/protected_environments`; a Community Edition does not have the routes.

    An Enterprise Edition checks only the role (GitLab's `ee/lib/api/protected_environments.rb` and its services): even
    without a licence it lists and accepts protections, but an environment's `protected?` ignores them.
    """

    key = "name"

    def __init__(self, ids: Iterator[int], *, enterprise: bool) -> None:
        super().__init__(ids)
        self._enterprise = enterprise

    def entries(self, query: Body) -> list[Body]:
        self._check_edition()
        return super().entries(query)

    def create(self, body: Body) -> Body:
        self._check_edition()
        required(body, "name", "deploy_access_levels")
        if body["name"] in self._entries:
            raise RefusedError(409, {"message": f"Environment '{body['name']}' is already protected"})
        levels = [self._level(one) for one in body["deploy_access_levels"]]
        return self._add({"name": body["name"], "deploy_access_levels": levels, "approval_rules": []})

    def update(self, name: str, body: Body) -> Body:
        """Adds the levels that have no id; changes the others, or with `_destroy` removes them."""
        protection = self.get(name)
        levels = {level["id"]: level for level in protection["deploy_access_levels"]}
        for one in body.get("deploy_access_levels", []):
            if "id" in one and one["id"] not in levels:
                raise missing()
            if one.get("_destroy"):
                del levels[one["id"]]
            else:
                level = self._level(one)
                levels[level["id"]] = level
        protection["deploy_access_levels"] = list(levels.values())
        return protection

    def get(self, key: str) -> Body:
        self._check_edition()
        return super().get(key)

    def _level(self, given: Body) -> Body:
        id_ = given["id"] if "id" in given else next(self._ids)
        role_only = {"user_id": None, "group_id": None, "group_inheritance_type": 0}
        return {**access_level(id_, given["access_level"]), **role_only}

    def _check_edition(self) -> None:
        if not self._enterprise:
            raise missing()


def _commit(sha: str, url: str) -> Body:
    """A commit as GitLab shows it in a branch."""
    made, person = "2026-01-01T00:00:00.000+00:00", {"name": "User 1", "email": "user-1@example.com"}
    return {
        "id": sha,
        "short_id": sha[:8],
        "created_at": made,
        "parent_ids": [],
        "title": "Initial commit",
        "message": "Initial commit",
        "author_name": person["name"],
        "author_email": person["email"],
        "authored_date": made,
        "committer_name": person["name"],
        "committer_email": person["email"],
        "committed_date": made,
        "trailers": {},
        "extended_trailers": {},
        "web_url": f"{url}/-/commit/{sha}",
    }
