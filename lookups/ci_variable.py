"""A CI variable that somebody made by hand where the stack makes one of its own with a secret.

An import would read the old value back, and the engine shows what it has read in plain: in `pulumi preview --json`, in
debug messages and in event logs. So it is deleted right before the stack's own takes its place.
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
    """Number of the project."""
    key: str
    scope: str

    async def delete(self, _args: pulumi.ResourceHookArgs) -> None:
        """Hook of the stack's variable, before it is created; a variable that is not there is no error.

        Raises `RuntimeError`, in words for the engine to end with, where GitLab does not delete it.
        """
        await asyncio.to_thread(self._delete)

    def _delete(self) -> None:
        from gitlab.exceptions import GitlabError  # noqa: PLC0415 - a run that creates no variable does without it

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
            f"GitLab does not delete the CI variable {self.key} of the environment {self.scope}, in whose place the "
            f"stack's own is to be made ({error}). Delete it by hand (Settings > CI/CD > Variables), or try again"
        )
