"""Push mirrors that GitLab created for an `up` that never received the answer.

GitLab takes any number of mirrors to one address (app/models/remote_mirror.rb), so the next `up` creates another.
Nobody has the public key of the lost one: each of its pushes fails, and GitLab mails that to the Maintainers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pulumi

from lookups.deploy_tokens import connect


@dataclass(frozen=True, kw_only=True)
class LostMirrors:
    """The mirrors of one project that push to one address with a key of their own."""

    gitlab: str
    """Address of GitLab."""
    project: str
    """Id of the project."""
    url: str

    async def delete(self, args: pulumi.ResourceHookArgs) -> None:
        """Hook that runs once the stack's mirror exists: deletes the other mirrors that have never pushed anything.

        Raises `RuntimeError`, with a message for the engine's warning, if GitLab refuses.
        """
        await asyncio.to_thread(self._delete_all_but, args.id.rpartition(":")[2])

    def _delete_all_but(self, kept: str) -> None:
        from gitlab.exceptions import GitlabError  # noqa: PLC0415 - a run that creates no mirror does not need it

        try:
            mirrors = connect(self.gitlab).projects.get(self.project, lazy=True).remote_mirrors
            for one in mirrors.list(get_all=True):
                same = (one.url, one.auth_method) == (self.url, "ssh_public_key")
                if same and str(one.id) != kept and one.last_successful_update_at is None:
                    mirrors.delete(one.id)
                    pulumi.log.info(
                        f"deleted the push mirror {one.id}: GitLab had created it, but its answer was lost, and it has "
                        "never pushed anything"
                    )
        except (GitlabError, OSError) as error:
            raise RuntimeError(
                f"GitLab does not show or delete the push mirrors to {self.url} ({error}). The stack's own is right; "
                "if there is another one that fails, delete it by hand (Settings > Repository > Mirroring repositories)"
            ) from error
