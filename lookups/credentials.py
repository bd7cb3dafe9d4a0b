"""Checks that the environment has what the providers need: credentials, addresses, a kubeconfig with the context.

The check runs before anything is created and reports everything that is missing at once, instead of plugin by plugin.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pulumi
import yaml

from lookups.onepassword_client import is_torn, onepassword_problems
from settings import Settings

_LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}


class CredentialsError(pulumi.RunError):
    """The environment lacks what the providers of the stack need; the message lists all of it."""


def check_environment(settings: Settings, environment: Mapping[str, str] = os.environ) -> None:
    """Raises CredentialsError with everything that the stack's sections need and that is missing or unusable."""
    if problems := list(_problems(settings, environment)):
        raise CredentialsError(
            "\n".join(
                [
                    f"The environment lacks what stack {settings.stack!r} needs. Nothing was created or changed.",
                    *(f"\n  {problem}" for problem in problems),
                ]
            )
        )


def _problems(settings: Settings, environment: Mapping[str, str]) -> Iterator[str]:
    yield from kubeconfig_problems(settings.cluster.context, environment)
    yield from onepassword_problems(environment)
    if settings.delivery:
        yield from gitlab_problems(environment)
    if settings.access.public or settings.r2:
        yield from cloudflare_problems(environment)
    if settings.delivery or settings.r2 or settings.service_token:
        yield from _logged_secrets(environment)
    if environment.get("PULUMI_DEBUG_GRPC"):
        yield "PULUMI_DEBUG_GRPC makes the engine write every secret of the stack to a file: unset it"


def _logged_secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Terraform log levels at which plugins print secrets: KUBE_TOKEN, and the tokens that the stack issues.

    1Password's plugin logs whole items at INFO, GitLab's its requests at DEBUG. Their SDK treats an unknown level as
    TRACE.
    """
    for name, value in sorted(environment.items()):
        level = name == "TF_LOG" or name.startswith(("TF_LOG_PROVIDER", "TF_LOG_SDK"))
        if level and value.upper() not in {"", "WARN", "ERROR", "OFF"}:
            yield f"{name} makes the plugins log the tokens that the stack creates: unset it, or set WARN"


def _missing(environment: Mapping[str, str], name: str, what: str) -> Iterator[str]:
    value = environment.get(name, "")
    if not value:
        yield f"{name} is not set: export {what}"
    elif is_torn(value):
        yield f"{name} contains a space, a line break or another character that no token has: export it without"


def kubeconfig_problems(context: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Problems with the kubeconfig that the environment names, each with its fix."""
    named = [path for path in environment.get("KUBECONFIG", "").split(os.pathsep) if path]
    if any(path.startswith("~") for path in named):
        # To the plugin, the file does not exist: a preview would pass, and `up` fail at the first object.
        yield (
            "KUBECONFIG has a path that begins with ~, which shells replace only outside quotes, and kubectl and the "
            "plugin never do: export the whole path"
        )
        return
    listed = [Path(path) for path in named]
    paths = listed or [Path("~/.kube/config").expanduser()]
    present = [path for path in paths if path.is_file()]
    if not present:
        # KUBECONFIG's value is not shown: it may be the text of a kubeconfig.
        where = "KUBECONFIG names no file that exists" if listed else f"{paths[0]} does not exist"
        yield f"{where}: export KUBECONFIG=<path of a kubeconfig with the context {context!r}>"
        return
    try:
        contexts = [name for path in present for name in _contexts(path)]
    # The error's text may quote the file, and with it a token. The last three types are raised for what is no mapping.
    except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        yield f"the kubeconfig cannot be read ({type(error).__name__}): check it with kubectl config get-contexts"
        return
    # Without this check, a preview of a new stack passes as if the cluster existed.
    if context not in contexts:
        yield (
            f"the kubeconfig has no context {context!r}; it has: {', '.join(contexts) or 'none'}. "
            "Correct cluster.context or KUBECONFIG"
        )


def _contexts(path: Path) -> Iterator[str]:
    content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    for entry in (content or {}).get("contexts") or []:
        yield str(entry["name"])


def cloudflare_problems(environment: Mapping[str, str]) -> Iterator[str]:
    """Problems with Cloudflare's token and address, each with its fix."""
    yield from _missing(environment, "CLOUDFLARE_API_TOKEN", "an API token that may edit tunnels, Access and DNS")
    # The plugin and the official client take an empty address as it is.
    if "CLOUDFLARE_BASE_URL" in environment and not _is_safe(environment["CLOUDFLARE_BASE_URL"]):
        yield "CLOUDFLARE_BASE_URL is not the address of Cloudflare's API: unset it"
    # Even if they are empty, the plugin and the official client send them beside the token, as another identity
    # (cloudflare-go, option.WithAPIKey and its like).
    for name in ("CLOUDFLARE_API_KEY", "CLOUDFLARE_API_USER_SERVICE_KEY", "CLOUDFLARE_EMAIL"):
        if name in environment:
            yield f"{name} would be sent to Cloudflare beside CLOUDFLARE_API_TOKEN: unset it"


def gitlab_problems(environment: Mapping[str, str]) -> Iterator[str]:
    """Problems with GitLab's token and address, each with its fix."""
    yield from _missing(environment, "GITLAB_TOKEN", "an access token with the scope api (glpat-...)")
    url = environment.get("GITLAB_BASE_URL")
    if url and not (_is_safe(url) and urlsplit(url).path.endswith("/api/v4/")):
        yield (
            "GITLAB_BASE_URL is not the address of GitLab's API: "
            "export https://, the host and /api/v4/ with the trailing slash, or unset it to use delivery.gitlab"
        )


def _is_safe(url: str) -> bool:
    """Whether a token may be sent there: encrypted, or to this machine itself."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or parts.hostname in _LOOPBACK)
