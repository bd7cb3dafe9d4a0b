"""A CI variable, created by hand, with the same key as one in which the stack stores a secret.

An import would read the old value, and the engine shows what it reads in plain text: in `pulumi preview --json`, debug
messages and event logs. So the old variable is deleted right before the stack creates its own.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pulumi

from lookups.deploy_tokens import connect


@dataclass(frozen=True, kw_only=True)
class CiVariable:
    """One variable of one environment scope."""

    gitlab: str
    """Address of GitLab."""
    project: str
    """Id of the project."""
    key: str
    scope: str

    async def delete(self, _args: pulumi.ResourceHookArgs) -> None:
        """Hook that runs before the stack's variable is created; if there is no variable to delete, it does nothing.

        Raises `RuntimeError`, with a message for the engine's last error, if GitLab does not delete the variable.
        """
        await asyncio.to_thread(self._delete)

    def _delete(self) -> None:
        from gitlab.exceptions import GitlabError  # noqa: PLC0415 - a run that creates no variable does not need it

        try:
            variables = connect(self.gitlab).projects.get(self.project, lazy=True).variables
            variables.delete(self.key, filter={"environment_scope": self.scope})
        except GitlabError as error:
            if error.response_code != 404:
                raise self._refusal(error) from error
        except OSError as error:
            raise self._refusal(error) from error
        else:
            pulumi.log.info(
                f"deleted the CI variable {self.key} of the environment {self.scope}, which was not made by this "
                "program: the stack's own takes its place"
            )

    def _refusal(self, error: Exception) -> RuntimeError:
        return RuntimeError(
            f"GitLab does not delete the CI variable {self.key} of the environment {self.scope}, which the stack's "
            f"own is to replace ({error}). Delete it by hand (Settings > CI/CD > Variables), or try again"
        )
