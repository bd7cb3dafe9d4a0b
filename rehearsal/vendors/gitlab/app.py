"""The HTTP side: `/api/v4/`, authentication, scopes, roles, routing on the raw path, pages.

Only the endpoints that the program uses; any other route is GitLab's 404.
"""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from rehearsal.homelab import APP_PROJECT, INFRASTRUCTURE_PROJECT
from rehearsal.vendors.gitlab.answers import Body, RefusedError, missing, now, user
from rehearsal.vendors.gitlab.id_tokens import IdTokens
from rehearsal.vendors.gitlab.project import Project
from rehearsal.vendors.server import Service

Handler = Callable[[Project, str, Body], Any]
"""Project, the path's variable segments joined by slashes (empty if it has none), parameters."""

MAINTAINER: Final = 40
DEVELOPER: Final = 30
REPORTER: Final = 20
_GUEST: Final = 10


@dataclass(frozen=True)
class Access:
    """What a token may do: its scopes, and its user's role in every project."""

    scopes: frozenset[str]
    level: int = MAINTAINER
    user: int = 1
    """Each token belongs to another user, as with project access tokens."""
    expires: dt.date | None = None
    """The day on which it expires; None for never, which an administrator may allow."""


def _scope(body: Body) -> str | None:
    """The scope by which a request for a variable filters: in the query, or in the body of python-gitlab's PUT."""
    nested = body.get("filter")
    found = nested.get("environment_scope") if isinstance(nested, Mapping) else body.get("filter[environment_scope]")
    return None if found is None else str(found)


def _change(body: Body) -> Body:
    return {key: value for key, value in body.items() if not key.startswith("filter")}


_ROUTES: Final[Mapping[tuple[str, str], Handler]] = {
    ("GET", "environments"): lambda p, _, b: p.environments.entries(b),
    ("POST", "environments"): lambda p, _, b: p.environments.create(b),
    ("GET", "environments/*"): lambda p, a, _: p.environments.get(a),
    ("PUT", "environments/*"): lambda p, a, b: p.environments.update(a, b),
    ("DELETE", "environments/*"): lambda p, a, _: p.environments.delete(a),
    ("POST", "environments/*/stop"): lambda p, a, b: p.environments.stop(a, b),
    ("GET", "deployments"): lambda p, _, b: p.deployments.entries(b),
    ("POST", "deployments"): lambda p, _, b: p.deployments.create(b),
    ("GET", "variables"): lambda p, _, b: p.variables.entries(b),
    ("POST", "variables"): lambda p, _, b: p.variables.create(b),
    ("GET", "variables/*"): lambda p, a, b: p.variables.get(a, _scope(b)),
    ("PUT", "variables/*"): lambda p, a, b: p.variables.update(a, _scope(b), _change(b)),
    ("DELETE", "variables/*"): lambda p, a, b: p.variables.delete(a, _scope(b)),
    ("GET", "deploy_tokens"): lambda p, _, b: p.deploy_tokens.entries(b),
    ("POST", "deploy_tokens"): lambda p, _, b: p.deploy_tokens.create(b),
    ("GET", "deploy_tokens/*"): lambda p, a, _: p.deploy_tokens.get(a),
    ("DELETE", "deploy_tokens/*"): lambda p, a, _: p.deploy_tokens.delete(a),
    ("GET", "registry/repositories"): lambda p, _, b: p.registry.entries(b),
    ("GET", "registry/repositories/*/tags"): lambda p, a, _: p.registry.tags(a),
    ("GET", "registry/repositories/*/tags/*"): lambda p, a, _: p.registry.tag(a),
    ("GET", "remote_mirrors"): lambda p, _, b: p.mirrors.entries(b),
    ("POST", "remote_mirrors"): lambda p, _, b: p.mirrors.create(b),
    ("GET", "remote_mirrors/*"): lambda p, a, _: p.mirrors.get(a),
    ("PUT", "remote_mirrors/*"): lambda p, a, b: p.mirrors.update(a, b),
    ("DELETE", "remote_mirrors/*"): lambda p, a, _: p.mirrors.delete(a),
    ("POST", "remote_mirrors/*/sync"): lambda p, a, _: p.mirrors.sync(a),
    ("GET", "remote_mirrors/*/public_key"): lambda p, a, _: p.mirrors.public_key(a),
    ("GET", "repository/branches"): lambda p, _, b: p.branches.entries(b),
    ("POST", "repository/branches"): lambda p, _, b: p.branches.create(b),
    ("GET", "repository/branches/*"): lambda p, a, _: p.branches.get(a),
    ("DELETE", "repository/branches/*"): lambda p, a, _: p.branches.delete(a),
    ("GET", "protected_branches"): lambda p, _, b: p.branches.protected_entries(b),
    ("POST", "protected_branches"): lambda p, _, b: p.branches.protect(b),
    ("GET", "protected_branches/*"): lambda p, a, _: p.branches.get_protected(a),
    ("PATCH", "protected_branches/*"): lambda p, a, b: p.branches.update_protected(a, b),
    ("DELETE", "protected_branches/*"): lambda p, a, _: p.branches.unprotect(a),
    ("GET", "pipeline_schedules"): lambda p, _, b: p.schedules.entries(b),
    ("GET", "pipeline_schedules/*"): lambda p, a, _: p.schedules.get(a),
    ("DELETE", "pipeline_schedules/*"): lambda p, a, _: p.schedules.delete(a),
    ("GET", "protected_tags"): lambda p, _, b: p.protected_tags.entries(b),
    ("POST", "protected_tags"): lambda p, _, b: p.protected_tags.create(b),
    ("GET", "protected_tags/*"): lambda p, a, _: p.protected_tags.get(a),
    ("DELETE", "protected_tags/*"): lambda p, a, _: p.protected_tags.delete(a),
    ("GET", "protected_environments"): lambda p, _, b: p.protected_environments.entries(b),
    ("POST", "protected_environments"): lambda p, _, b: p.protected_environments.create(b),
    ("GET", "protected_environments/*"): lambda p, a, _: p.protected_environments.get(a),
    ("PUT", "protected_environments/*"): lambda p, a, b: p.protected_environments.update(a, b),
    ("DELETE", "protected_environments/*"): lambda p, a, _: p.protected_environments.delete(a),
}
_ROUTES_BY_USER: Final[Mapping[tuple[str, str], Callable[..., Any]]] = {
    ("POST", "pipeline_schedules"): lambda p, _, b, by: p.schedules.create(b, by=by),
    ("PUT", "pipeline_schedules/*"): lambda p, a, b, by: p.schedules.update(a, b, by=by),
}
"""Those whose answer also depends on the token's user, `by`."""

_UNAUTHORIZED: Final = RefusedError(401, {"message": "401 Unauthorized"})
_EXPIRED: Final = RefusedError(
    401,
    {
        "error": "invalid_token",
        "error_description": "Token is expired. You can either do re-authorization or token refresh.",
    },
)
_DEVELOPER_READS: Final = ("environments", "registry", "repository", "protected_branches")
"""What a Developer may read; everything else under a project, and every write, needs a Maintainer."""


class GitLab:
    """An in-memory GitLab with private projects; `app` serves it, keeps a log and can be made to fail."""

    def __init__(self, *paths: str, enterprise: bool = True) -> None:
        self.enterprise = enterprise
        self.id_tokens = IdTokens()
        self.projects: dict[str, Project] = {}
        for path in paths:
            self.add_project(path)
        self._access: dict[str, Access] = {}
        self._of_jobs: dict[str, Access] = {}
        self._version = "19.1.0"
        self.token = self.issue_token("api")
        self.app = Service(self._serve)

    @classmethod
    def seeded(cls) -> GitLab:
        """Like the homelab's: an unlicensed Enterprise Edition with the app's project and this repository's."""
        return cls(APP_PROJECT, INFRASTRUCTURE_PROJECT)

    def add_project(self, path: str) -> None:
        """Adds a project, as a user would."""
        number = 57 + len(self.projects)
        self.projects[path] = Project(number, path, self.id_tokens, enterprise=self.enterprise)

    def be(self, version: str) -> None:
        """Switches to another version, e.g. `18.10.0`, and behaves as that version does."""
        self._version = version
        major, minor, *_ = map(int, version.split("."))
        for project in self.projects.values():
            project.mirrors.takes_host_keys = (major, minor) >= (18, 11)

    @property
    def project(self) -> Project:
        """The app's project."""
        return next(iter(self.projects.values()))

    @property
    def infrastructure(self) -> Project:
        """This repository's project."""
        return self.projects[INFRASTRUCTURE_PROJECT]

    @property
    def handed_out(self) -> set[str]:
        """Every deploy, ID and job token ever shown, and the value of every masked variable."""
        shown = {*self.id_tokens.handed_out, *self._of_jobs}
        for project in self.projects.values():
            shown |= project.deploy_tokens.handed_out
            shown |= {variable["value"] for variable in project.variables.stored() if variable["masked"]}
        return shown

    def issue_token(self, *scopes: str, level: int = MAINTAINER, expires: dt.date | None = None) -> str:
        """Issues an access token with these scopes, of a user with this role."""
        token = f"glpat-{secrets.token_urlsafe(15)}"
        self._access[token] = Access(frozenset(scopes), level, len(self._access) + 1, expires)
        return token

    def issue_job_token(self) -> str:
        """The CI_JOB_TOKEN of a job that a Developer's push or click started."""
        token = f"glcbt-{secrets.token_urlsafe(15)}"
        self._of_jobs[token] = Access(frozenset({"api"}), DEVELOPER, len(self._access) + len(self._of_jobs) + 1)
        return token

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response: Response
        try:
            response = self._answer(request, await _parameters(request))
        except RefusedError as refusal:
            response = JSONResponse(refusal.body, refusal.status)
        await response(scope, receive, send)

    def _answer(self, request: Request, parameters: Body) -> Response:
        raw = request.scope.get("raw_path", request.url.path.encode()).decode().partition("?")[0]
        segments = [unquote(segment) for segment in raw.strip("/").split("/")]
        if segments[:2] != ["api", "v4"]:
            raise RefusedError(404, {"error": "404 Not Found"})
        access = self._authenticate(request, segments[4:5])
        match segments[2:]:
            case ["user"]:
                own = f"{request.base_url}user-{access.user}"
                return JSONResponse({**user(access.user), "web_url": own, "is_admin": False})
            case ["personal_access_tokens", "self"]:
                return JSONResponse(_described(access))
            case ["version"]:
                return JSONResponse({"version": self._version, "revision": "0000000"})
            case ["metadata"]:
                version = f"{self._version}-ee" if self.enterprise else self._version
                return JSONResponse(
                    {
                        "version": version,
                        "revision": "0000000",
                        "enterprise": self.enterprise,
                        "kas": {
                            "enabled": False,
                            "externalUrl": None,
                            "externalK8sProxyUrl": None,
                            "version": None,
                        },
                    }
                )
            case ["projects", project] if request.method == "GET":
                level = {"access_level": access.level, "notification_level": 3}
                permissions = {"project_access": level, "group_access": None}
                return JSONResponse({**self._project(project, access).describe(), "permissions": permissions})
            case ["projects", project, "merge_requests", iid, "notes", *note]:
                return self._notes_answer(request, self._project(project, access), [iid, *note], access, parameters)
            case ["projects", project, *rest]:
                return self._project_answer(request, self._project(project, access), rest, access, parameters)
        raise RefusedError(404, {"error": "404 Not Found"})

    def _authenticate(self, request: Request, of_project: list[str]) -> Access:
        if (job := request.headers.get("JOB-TOKEN")) and of_project == ["deployments"]:  # `job_token_allowed`
            if job not in self._of_jobs:
                raise _UNAUTHORIZED
            return self._of_jobs[job]
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        token = request.headers.get("PRIVATE-TOKEN") or bearer
        access = self._access.get(token)
        if access is None:
            raise _UNAUTHORIZED
        if access.expires is not None and access.expires <= dt.datetime.now(dt.UTC).date():
            raise _EXPIRED
        needed = {"api"} if request.method != "GET" else {"api", "read_api"}
        if not access.scopes & needed:
            raise RefusedError(
                403,
                {
                    "error": "insufficient_scope",
                    "error_description": "The request requires higher privileges than provided by the access token.",
                    "scope": " ".join(sorted(needed)),
                },
            )
        return access

    def _project(self, key: str, access: Access) -> Project:
        for project in self.projects.values():
            # Projects are private: for a user who is not a member, GitLab answers that there is none.
            if access.level >= _GUEST and key in (str(project.id), project.path):
                return project
        raise missing("Project")

    @staticmethod
    def _notes_answer(
        request: Request, project: Project, path: list[str], access: Access, parameters: Body
    ) -> Response:
        if access.level < REPORTER:
            raise RefusedError(403, {"message": "403 Forbidden"})
        match request.method, path:
            case "GET", [iid]:
                return _page(request, project.merge_requests.notes(iid, parameters), parameters)
            case "POST", [iid]:
                return JSONResponse(project.merge_requests.create(iid, parameters, user=access.user), 201)
            case "PUT", [iid, id_]:
                maintainer = access.level >= MAINTAINER
                changed = project.merge_requests.update(iid, id_, parameters, user=access.user, maintainer=maintainer)
                return JSONResponse(changed)
        raise RefusedError(404, {"error": "404 Not Found"})

    @staticmethod
    def _project_answer(
        request: Request, project: Project, rest: list[str], access: Access, parameters: Body
    ) -> Response:
        handler, argument = _route(request.method, rest, access.user)
        reads = request.method == "GET" and rest[0] in _DEVELOPER_READS
        if access.level < (DEVELOPER if reads or rest[0] == "deployments" else MAINTAINER):
            # Only mirrors refuse as if the token were unknown (lib/api/remote_mirrors.rb).
            raise _UNAUTHORIZED if rest[0] == "remote_mirrors" else RefusedError(403, {"message": "403 Forbidden"})
        answer = handler(project, argument, parameters)
        if answer is None:
            return Response(status_code=204)
        if isinstance(answer, list):
            return _page(request, answer, parameters)
        created = request.method == "POST" and rest[-1] != "stop"
        return JSONResponse(answer, 201 if created else 200)


def _described(access: Access) -> Body:
    """What GitLab tells a token about itself."""
    return {
        "id": 1,
        "name": "pulumi",
        "revoked": False,
        "created_at": "2026-01-01T00:00:00.000Z",
        "description": None,
        "user_id": access.user,
        "last_used_at": now(),
        "active": True,
        "scopes": sorted(access.scopes),
        "expires_at": access.expires.isoformat() if access.expires else None,
    }


def _route(method: str, rest: list[str], user: int) -> tuple[Handler, str]:
    of_user: dict[tuple[str, str], Handler] = {
        route: partial(handler, by=user) for route, handler in _ROUTES_BY_USER.items()
    }
    for (verb, pattern), handler in {**_ROUTES, **of_user}.items():
        parts = pattern.split("/")
        if verb == method and len(parts) == len(rest) and all(p in ("*", r) for p, r in zip(parts, rest, strict=True)):
            return handler, "/".join(r for p, r in zip(parts, rest, strict=True) if p == "*")
    raise RefusedError(404, {"error": "404 Not Found"})


async def _parameters(request: Request) -> Body:
    """Query and JSON body together, as Grape merges them."""
    body = await request.body()
    try:
        sent = json.loads(body) if body else {}
    except ValueError:
        raise RefusedError(400, {"error": "The provided content-type 'application/json' is not valid"}) from None
    return {**request.query_params, **sent}


def _page(request: Request, items: list[Any], parameters: Body) -> Response:
    size = min(int(parameters.get("per_page", 20)), 100)
    page = int(parameters.get("page", 1))
    pages = max(1, -(-len(items) // size))
    headers = {
        "X-Page": str(page),
        "X-Per-Page": str(size),
        "X-Total": str(len(items)),
        "X-Total-Pages": str(pages),
        "X-Next-Page": str(page + 1) if page < pages else "",
        "X-Prev-Page": str(page - 1) if page > 1 else "",
    }
    if page < pages:  # python-gitlab follows Link; the provider's client reads X-Next-Page
        following = request.url.include_query_params(page=page + 1, per_page=size)
        headers["Link"] = f'<{following}>; rel="next"'
    return JSONResponse(items[(page - 1) * size : page * size], headers=headers)
