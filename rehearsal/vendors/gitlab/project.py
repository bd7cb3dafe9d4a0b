"""One project of the emulated GitLab."""

from __future__ import annotations

import fnmatch
import itertools

from rehearsal.homelab import GITLAB, REGISTRY
from rehearsal.vendors.gitlab.answers import Body, now
from rehearsal.vendors.gitlab.delivery import DeployTokens, Environments, Variables
from rehearsal.vendors.gitlab.deployments import Deployments
from rehearsal.vendors.gitlab.id_tokens import IdTokens
from rehearsal.vendors.gitlab.merge_requests import MergeRequests
from rehearsal.vendors.gitlab.registry import Registry
from rehearsal.vendors.gitlab.repository import Branches, Mirrors, ProtectedEnvironments
from rehearsal.vendors.gitlab.schedules import ProtectedTags, Schedules


class Project:
    """A private project with one branch, protected as GitLab protects a new project's default branch."""

    def __init__(self, id_: int, path: str, id_tokens: IdTokens, *, enterprise: bool) -> None:
        ids = itertools.count(1000 * id_ + 1)  # so that no two projects share an id
        self.id, self.path, self.default_branch = id_, path, "main"
        self.licensed = False
        """Whether GitLab has a licence, which the project's attributes reveal."""
        self.id_tokens = id_tokens
        self.environments = Environments(ids)
        self.deployments = Deployments(ids, self.environments)
        self.variables = Variables()
        self.deploy_tokens = DeployTokens(ids)
        self.registry = Registry(ids, id_)
        self.clean_up: Body = {
            "cadence": "1d",
            "enabled": False,
            "keep_n": 10,
            "older_than": "90d",
            "name_regex": ".*",
            "name_regex_keep": None,
            "next_run_at": now(),
        }
        """The registry's clean-up policy, as a new project has it (ContainerExpirationPolicy)."""
        self.mirrors = Mirrors(ids)
        self.branches = Branches(
            ids, default=self.default_branch, enterprise=enterprise, url=f"https://{GITLAB}/{path}"
        )
        self.protected_environments = ProtectedEnvironments(ids, enterprise=enterprise)
        self.schedules = Schedules(ids)
        self.protected_tags = ProtectedTags(ids)
        self.merge_requests = MergeRequests(ids, project=id_)

    def describe(self) -> Body:
        """`GET /projects/:id`: the attributes in use."""
        name = self.path.rpartition("/")[2]
        return {
            "id": self.id,
            "name": name,
            "path": name,
            "path_with_namespace": self.path,
            "default_branch": self.default_branch,
            "web_url": f"https://{GITLAB}/{self.path}",
            "container_registry_image_prefix": f"{REGISTRY}/{self.path.lower()}",
            "container_expiration_policy": self.clean_up,
            "visibility": "private",
            **({"allow_pipeline_trigger_approve_deployment": False} if self.licensed else {}),
        }

    def variables_for(self, branch: str, environment: str) -> dict[str, str]:
        """The CI variables that a job on this branch with this environment sees; the narrower scope wins."""
        protected = self.branches.protects(branch)
        seen = [
            variable
            for variable in self.variables.stored()
            if fnmatch.fnmatchcase(environment, variable["environment_scope"])
            and (protected or not variable["protected"])
        ]
        seen.sort(key=lambda variable: len(variable["environment_scope"]))
        return {variable["key"]: variable["value"] for variable in seen}

    def id_token(self, branch: str, environment: str | None, *, audience: str) -> str:
        """The ID token of a job on this branch; GitLab masks it in the job's log."""
        protected = self.branches.protects(branch)
        return self.id_tokens.issue(
            self.id, self.path, audience=audience, ref=branch, protected=protected, environment=environment
        )
