"""The connection to GitLab, the errors that its refusals become, and what the kinds of resources share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import gitlab
from gitlab.v4.objects import Project

from rehearsal.plugins.base import PluginError
from rehearsal.plugins.rest import ResourceKind
from rehearsal.plugins.values import Properties

_T = TypeVar("_T")

RETRIES = 5
"""Retries of a request answered with 429 or 5xx: client-go's default, which the provider keeps."""

_PAUSE = 0.4
"""Seconds before a retry after a 5xx: the longest that client-go waits."""

TIMEOUT = 60.0
"""Seconds to wait for one answer; the provider has no limit, but a rehearsal must end."""


class _Connection(gitlab.Gitlab):
    """Retries as client-go does: after 429 and 5xx, but not after a broken connection."""

    def http_request(self, *args: Any, **kwargs: Any) -> Any:
        for _ in range(RETRIES):
            try:
                return super().http_request(*args, **{"max_retries": RETRIES, **kwargs})
            except gitlab.GitlabError as error:
                if (error.response_code or 0) < 500:
                    raise
                time.sleep(_PAUSE)
        return super().http_request(*args, **{"max_retries": RETRIES, **kwargs})


class Client:
    """Configured from the provider's inputs, then from the environment, as in the real plugin."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        base_url = config.get("baseUrl") or os.environ.get("GITLAB_BASE_URL") or "https://gitlab.com/api/v4/"
        token = config.get("token") or os.environ.get("GITLAB_TOKEN")
        if not base_url.endswith("/api/v4/"):
            raise PluginError(f"the base URL must be that of the API, with a trailing slash, not {base_url}")
        if not token:
            raise PluginError("no token for GitLab: set GITLAB_TOKEN")
        self.connection = _Connection(
            base_url.removesuffix("/api/v4/"),
            oauth_token=token,  # the provider authenticates with a Bearer header
            timeout=TIMEOUT,
            keep_base_url=True,
        )

    def project(self, id_: str) -> Project:
        """The project by number or path, without a request."""
        return self.connection.projects.get(id_, lazy=True)

    def check_authentication(self) -> None:
        """`GET /user`, the provider's early check."""
        with refusals("the token of GITLAB_TOKEN"):
            self.connection.http_get("/user")


@contextmanager
def refusals(subject: str) -> Iterator[None]:
    """Turns a refusal into a message for the user: the subject, the status and GitLab's own text."""
    try:
        yield
    except gitlab.GitlabError as error:
        words = error.response_body or error.error_message
        text = words.decode(errors="replace") if isinstance(words, bytes) else str(words)
        raise PluginError(f"GitLab refused {subject}: {error.response_code} {text}") from None
    except OSError as error:  # requests' exceptions are among them
        raise PluginError(f"GitLab gave no answer about {subject}: {type(error).__name__}") from None


def if_present(call: Callable[[], _T]) -> _T | None:
    """What the call returns; None if GitLab answers that the object is gone."""
    try:
        return call()
    except gitlab.GitlabError as error:
        if error.response_code != 404:
            raise
        return None


def kept(inputs: Properties, live: Properties) -> Properties:
    """Inputs after a refresh: the last ones with the live values; in an import, every value that is not zero."""
    if not inputs:
        return {name: value for name, value in live.items() if value not in (None, "", [], False)}
    return {name: live.get(name, value) for name, value in inputs.items()}


def sent(inputs: Properties, names: Mapping[str, str]) -> dict[str, Any]:
    """The request's attributes: `names` maps Pulumi's property to GitLab's attribute."""
    return {attribute: inputs[name] for name, attribute in names.items() if inputs.get(name) is not None}


def received(attributes: Mapping[str, Any], names: Mapping[str, str]) -> Properties:
    """The answer's properties, by the same `names`."""
    return {name: attributes.get(attribute) for name, attribute in names.items()}


class Kind(ResourceKind):
    """A resource in a GitLab project."""

    def __init__(self, client: Client) -> None:
        self._client = client
