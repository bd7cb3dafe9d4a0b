"""The stack's deploy tokens in GitLab, which shows a token only once: a token whose value was lost is useless."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi

from lookups.gitlab_access import TIMEOUT
from lookups.http import like_go
from settings.names import PROGRAM

if TYPE_CHECKING:
    from gitlab import Gitlab
    from gitlab.v4.objects import Project, ProjectDeployToken

IN_USE: Final = f"{PROGRAM}/deploy-token"
"""Annotation on the pull secret: user name of the deploy token in it."""


def connect(address: str) -> Gitlab:
    """python-gitlab with GITLAB_TOKEN, at GITLAB_BASE_URL or else the stack file's address."""
    url = (os.environ.get("GITLAB_BASE_URL") or address).rstrip("/").removesuffix("/api/v4")
    return client(url, os.environ["GITLAB_TOKEN"])


def client(url: str, token: str) -> Gitlab:
    """python-gitlab that trusts the certificates that the plugin trusts, and does not wait forever."""
    # A run that changes no token does not need these.
    from gitlab import Gitlab  # noqa: PLC0415 - as above
    from requests import Session  # noqa: PLC0415 - as above
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - as above
    from urllib3.util.ssl_ import create_urllib3_context  # noqa: PLC0415 - as above

    class Adapter(HTTPAdapter):
        """Demands no more of certificates than the plugin does."""

        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, ssl_context=like_go(create_urllib3_context()), **options)

    session = Session()
    session.mount("https://", Adapter())
    # The system's CA certificates, with which the plugin trusts a self-hosted GitLab; python-gitlab has its own set.
    system = ssl.get_default_verify_paths()
    return Gitlab(
        url,
        private_token=token,
        session=session,
        ssl_verify=system.cafile or system.capath or True,
        timeout=TIMEOUT,
        retry_transient_errors=True,
    )


def active(project: Project, name: str) -> list[ProjectDeployToken]:
    """The tokens of this name that are not revoked."""
    return [one for one in project.deploytokens.list(iterator=True) if one.name == name and not one.revoked]


@dataclass(frozen=True, kw_only=True)
class DeployTokens:
    """The tokens of one name in one project."""

    gitlab: str
    """Address of GitLab."""
    project: str
    """Id of the project."""
    name: str

    async def revoke_lost(self, args: pulumi.ResourceHookArgs) -> None:
        """Hook that runs once the pull secret has a token: revokes all other tokens except the secret's previous one.

        GitLab created those for an `up` that never received the answer. The engine revokes the previous one. Raises
        `RuntimeError`, with a message for the engine's warning, if GitLab refuses.
        """
        kept = [await _token_in(inputs) for inputs in (args.new_inputs, args.old_inputs)]
        await asyncio.to_thread(self._revoke_all_but, [username for username in kept if username])

    def _revoke_all_but(self, kept: Collection[str]) -> None:
        from gitlab.exceptions import GitlabError  # noqa: PLC0415 - as above

        try:
            project = connect(self.gitlab).projects.get(self.project, lazy=True)
            for token in active(project, self.name):
                if token.username not in kept:
                    token.delete()
                    pulumi.log.info(
                        f"revoked {token.username}: GitLab had created it, but the only answer that shows it was lost"
                    )
        except (GitlabError, OSError) as error:
            raise RuntimeError(
                f"GitLab does not show or revoke the deploy tokens {self.name} ({error}). The pull secret is right; "
                "one that was lost may still be valid: `python -m ops recover` revokes it"
            ) from error


async def _token_in(inputs: Mapping[str, Any] | None) -> str | None:
    """User name of the token in the inputs of a pull secret."""
    found: Any = inputs or {}
    for key in ("metadata", "annotations", IN_USE):
        found = await pulumi.Output.from_input(found).future() or {}
        found = found.get(key)
    username: str | None = await pulumi.Output.from_input(found).future()
    return username
