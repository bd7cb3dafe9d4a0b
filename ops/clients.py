"""Clients for the live systems of one stack, built from its stack file and the environment, as the providers' are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml
from cloudflare import NOT_GIVEN, Cloudflare, DefaultHttpxClient, NotGiven
from gitlab import Gitlab, GitlabError, GitlabParsingError
from kubernetes.client import ApiClient
from kubernetes.dynamic import DynamicClient

import lookups.cluster
from lookups import deploy_tokens
from lookups.cluster_client import api_client
from lookups.credentials import CredentialsError, check_environment, gitlab_problems
from lookups.http import PluginTransport
from lookups.live_database import with_live_database
from ops.adopt.existing import Live
from settings import Settings, SettingsError
from settings.names import Names
from settings.stack_file import read_yaml, split

_NO_FILE: Final = f"{os.devnull}/discovery.json"  # neither readable nor writable, which the client ignores silently
_PATIENCE: Final = 15.0  # seconds for one answer
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


def load_settings(stack: str) -> Settings:
    """The settings in `Pulumi.<stack>.yaml` of the working directory; during a move, those of the live database.

    Raises `SettingsError`; during a move also `lookups.cluster.ClusterError`: the cluster says which database is live.
    """
    names = Names(_read("Pulumi.yaml", "name", str), stack)
    sections, foreign = split(_read(f"Pulumi.{stack}.yaml", "config", dict), names.project)
    settings = Settings.load(names, sections, foreign=foreign, running=True)
    if settings.database is None or settings.database.moving_from is None:
        return settings
    return with_live_database(settings, lookups.cluster.connect(settings.cluster.context))


def _read(file: str, key: str, kind: type) -> Any:
    try:
        content = read_yaml(Path(file))
    except yaml.MarkedYAMLError as error:  # its own text quotes the line, which may hold a secret
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise SettingsError(f"{file}{line}: {error.problem}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        stacks = sorted(path.name.split(".")[1] for path in Path().glob("Pulumi.?*.yaml"))
        raise SettingsError(
            f"{file} cannot be read ({type(error).__name__}): run this in the program's directory, for one of its "
            f"stacks; found: {', '.join(stacks) or 'none'}"
        ) from None
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, kind):
        raise SettingsError(f"{file} has no {key}, which is {'a mapping' if kind is dict else 'a text'}")
    return found


def connect(settings: Settings) -> Live:
    """Clients for the cluster's context that the settings name, and for GitLab and Cloudflare if the stack uses them.

    Raises `CredentialsError` if the environment does not give access to all of them.
    """
    check_environment(settings)
    cluster = dynamic_client(kubernetes_client(settings))
    return Live(
        kubernetes=cluster,
        names=settings.names,
        gitlab=gitlab_client(settings),
        cloudflare=cloudflare_client() if settings.access.public else None,
        mirror=settings.repository.mirror if settings.repository else None,
        secret_names=settings.app.secrets.keys(),
        database_image=settings.database.image if settings.database else None,
    )


def cloudflare_client(*, patience: float | NotGiven = NOT_GIVEN) -> Cloudflare:
    """Cloudflare's official client, with CLOUDFLARE_API_TOKEN.

    `patience` is in seconds, for one answer; by default the client's own.
    """
    return Cloudflare(timeout=patience, http_client=DefaultHttpxClient(transport=PluginTransport()))


def kubernetes_client(settings: Settings) -> ApiClient:
    """The official client for the context that the settings name, from KUBECONFIG or kubectl's default file.

    Raises `CredentialsError` if that does not lead to a cluster.
    """
    return api_client(settings.cluster.context)


def dynamic_client(client: ApiClient) -> DynamicClient:
    """The official client for any kind, which asks the API server each time what it serves.

    By default it caches the answer in a file of the system's temporary folder, named after the server's address. Every
    user of the machine can write that file, and it outlives the cluster and its CRDs.
    """
    return DynamicClient(client, cache_file=_NO_FILE)


def gitlab_client(settings: Settings) -> Gitlab | None:
    """A python-gitlab client if the stack uses GitLab. Raises `CredentialsError` if its variables are wrong."""
    if settings.delivery is None:
        return None
    if problems := list(gitlab_problems(os.environ)):
        raise CredentialsError("; ".join(problems))
    return deploy_tokens.connect(settings.delivery.gitlab)


def check_gitlab(client: Gitlab, *, patience: float = _PATIENCE) -> None:
    """Raises python-gitlab's own error if GitLab does not answer, after at most a minute.

    The client alone would wait many minutes for a GitLab that is down. `patience` is in seconds, for one answer.
    """
    answer = client.http_get("/version", max_retries=2, timeout=patience)
    # The client returns a page as it is, and would fail on it later in its own way.
    if not isinstance(answer, dict):
        raise GitlabParsingError("a page instead of JSON")


def gitlab_words(error: Exception) -> str:
    """What a refusal or a missing answer of GitLab means, and what to do about it."""
    status = getattr(error, "response_code", None)
    if isinstance(error, GitlabError) and status is None:
        return f"What answers for GitLab is not its API ({error.error_message}). Check its address, and the proxies"
    if not isinstance(error, GitlabError) or (status or 0) >= _SERVER_ERROR:
        request = getattr(error, "request", None)
        url = urlsplit(getattr(request, "url", None) or "")
        at = f" at {url.scheme}://{url.netloc.rpartition('@')[2]}" if url.netloc else ""
        came = f" (it came: {status})" if status else ""
        return f"GitLab does not answer{at}{came}. Check the address, DNS, routes and certificates from this machine"
    if status == _TOO_MANY:
        return f"GitLab refuses: {status} {error.error_message}. Try again in some minutes"
    if status == _UNAUTHORIZED:
        fix = "GITLAB_TOKEN has expired, was revoked, or lacks the role Maintainer: create a new one"
    elif status == _NOT_FOUND:
        fix = "Correct delivery.project in the stack file, or make the user of GITLAB_TOKEN a Maintainer of it"
    else:
        fix = "GITLAB_TOKEN needs the scope api and the role Maintainer"
    return f"GitLab refuses: {status} {error.error_message}. {fix}"
