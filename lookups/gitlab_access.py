"""What GITLAB_TOKEN may do in the app's project, according to GitLab, before anything is created.

The plugin has no function for this and would only fail at its first write, when half of the stack already exists.
"""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from lookups.http import like_go
from settings.delivery import DeliverySettings
from settings.repository import RepositorySettings

_MAINTAINER: Final = 40  # https://docs.gitlab.com/api/access_requests/#valid-access-levels
TIMEOUT: Final = 30.0
"""Seconds that an answer from GitLab may take."""


class NoAnswerError(Exception):
    """GitLab does not answer; the message says where, and why."""


def api_url(delivery: DeliverySettings, environment: Mapping[str, str] = os.environ) -> str:
    """Address of GitLab's API, with a slash at the end."""
    return environment.get("GITLAB_BASE_URL") or f"{delivery.gitlab}/api/v4/"


def check_answers(delivery: DeliverySettings, environment: Mapping[str, str] = os.environ) -> None:
    """Raises `NoAnswerError` if GitLab is currently unavailable, whatever the token's permissions."""
    base = api_url(delivery, environment)
    status, _ = _get(f"{base}version", environment)
    if status is None or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise NoAnswerError(
            f"GitLab does not answer at {base}: " + (f"{status}" if status else "the server there is not its API")
        )


def token_user(delivery: DeliverySettings, environment: Mapping[str, str] = os.environ) -> int | None:
    """Id of the token's user; None if GitLab does not say. Raises `NoAnswerError` if there is no connection to it."""
    _, token = _get(f"{api_url(delivery, environment)}personal_access_tokens/self", environment)
    found: int | None = token.get("user_id")
    return found


def find_protected(
    delivery: DeliverySettings, project: str, environments: Iterable[str], environment: Mapping[str, str] = os.environ
) -> list[str]:
    """Those of the project's environments that are protected; the plugin has no function to look for them.

    Raises `NoAnswerError` if there is no connection to GitLab.
    """
    protections = f"{api_url(delivery, environment)}projects/{project}/protected_environments"
    found = {name: _get(f"{protections}/{quote(name, safe='')}", environment) for name in environments}
    return [name for name, (status, _) in found.items() if status == HTTPStatus.OK]


def missing_permissions(
    delivery: DeliverySettings,
    repository: RepositorySettings | None = None,
    environment: Mapping[str, str] = os.environ,
    *,
    reading: bool = False,
) -> list[str]:
    """What the token, or GitLab's licence, lacks, in words; `reading`: for a run that writes nothing.

    A preview may be that of an `up`: if anything else is missing, the scope that the `up` needs is reported with it.
    Also empty if GitLab does not say (a token of another kind, an administrator who is no member, an error): the
    plugin's next read reports that. Raises `NoAnswerError` if there is no connection to GitLab.
    """
    base = api_url(delivery, environment)
    known, token = _get(f"{base}personal_access_tokens/self", environment)
    if known == HTTPStatus.UNAUTHORIZED:
        return [
            f"a valid token: GitLab refuses GITLAB_TOKEN at {base} (401), so it has expired or was revoked; make one"
        ]
    seen, project = _get(f"{base}projects/{quote(delivery.project, safe='')}", environment)
    if seen == HTTPStatus.NOT_FOUND:
        path = delivery.project
        fix = "correct delivery.project in the stack file, or make that user a Maintainer of it"
        return [f"a project {path} at {base} that the user of GITLAB_TOKEN may see (404): {fix}"]
    others = [
        *_lacking_role(project, delivery.project),
        *(_lacking_licence(project) if repository and repository.protected_environments else ()),
        *_lacking_infrastructure(base, repository, environment),
    ]
    return [*_lacking_scope(token, reading=reading and not others), *others]


def _lacking_infrastructure(
    base: str, repository: RepositorySettings | None, environment: Mapping[str, str]
) -> Iterator[str]:
    if repository is None or repository.infrastructure is None:
        return
    path = repository.infrastructure.project
    seen, project = _get(f"{base}projects/{quote(path, safe='')}", environment)
    if seen == HTTPStatus.NOT_FOUND:
        yield (
            f"a project {path} at {base} that the user of GITLAB_TOKEN may see (404): correct "
            "repository.infrastructure.project in the stack file, or make that user a Maintainer of it"
        )
    yield from _lacking_role(project, path)


class _NoRedirect(HTTPRedirectHandler):
    """Does not send the token to the target of a redirect."""

    def redirect_request(self, *_args: Any) -> None:
        """Returns None, which makes the redirect an error."""


def _get(url: str, environment: Mapping[str, str]) -> tuple[int | None, Mapping[str, Any]]:
    """Status and answer; None and empty without a usable answer. Raises `NoAnswerError` if there is no connection."""
    request = Request(url, headers={"Authorization": f"Bearer {environment.get('GITLAB_TOKEN', '')}"})  # noqa: S310 - https, or loopback: providers.py
    secure = [HTTPSHandler(context=like_go(ssl.create_default_context()))] if request.type == "https" else []
    try:
        with build_opener(_NoRedirect, *secure).open(request, timeout=TIMEOUT) as answer:
            found = json.load(answer)
    except HTTPError as error:
        return error.code, {}
    except (URLError, TimeoutError) as error:
        why = getattr(error, "reason", error)
        raise NoAnswerError(f"GitLab does not answer at {url}: {why}") from error
    except (OSError, ValueError, HTTPException):
        return None, {}  # cut off, not JSON, or not even HTTP
    return HTTPStatus.OK, found if isinstance(found, dict) else {}


def _lacking_scope(token: Mapping[str, Any], *, reading: bool) -> Iterator[str]:
    scopes = token.get("scopes") or []
    least = "read_api" if reading else "api"
    if scopes and not {"api", least} & {*scopes}:
        yield f"the scope {least}: GITLAB_TOKEN has {', '.join(scopes)}"


def _lacking_role(project: Mapping[str, Any], path: str) -> Iterator[str]:
    permissions = project.get("permissions") or {}
    levels = [access["access_level"] for access in permissions.values() if access]
    if levels and max(levels) < _MAINTAINER:
        yield f"the role Maintainer ({_MAINTAINER}) of {path}: the user of GITLAB_TOKEN has access level {max(levels)}"


def _lacking_licence(project: Mapping[str, Any]) -> Iterator[str]:
    # Not the list of protected environments: an unlicensed Enterprise Edition has it, too, and accepts new ones, which
    # have no effect. This key exists only if the licence includes them.
    if project and "allow_pipeline_trigger_approve_deployment" not in project:
        yield (
            "GitLab Premium, for protected environments: without it leave out repository.protectedEnvironments, "
            "and protect the branches alone"
        )
