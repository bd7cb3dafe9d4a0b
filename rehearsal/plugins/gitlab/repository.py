"""ProjectPushMirror, Branch, BranchProtection, ProjectProtectedEnvironment."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from typing_extensions import override

from rehearsal.plugins.base import PluginError, State
from rehearsal.plugins.gitlab.client import Kind, if_present, kept, received, refusals, sent
from rehearsal.plugins.values import Properties, Secret

LEVELS: Final = {"no one": 0, "developer": 30, "maintainer": 40, "admin": 60}
"""Access levels by the provider's names."""
LEVEL_NAMES: Final = {number: name for name, number in LEVELS.items()}
"""The provider's names by access level."""


class PushMirror(Kind):
    """`gitlab:index/projectPushMirror:ProjectPushMirror`. GitLab scrubs the URL and never shows the host keys again."""

    replace_on = frozenset({"project", "url"})
    computed = frozenset({"mirrorId"})
    _settable: ClassVar = {
        "enabled": "enabled",
        "authMethod": "auth_method",
        "hostKeys": "host_keys",
        "keepDivergentRefs": "keep_divergent_refs",
        "mirrorBranchRegex": "mirror_branch_regex",
        "onlyProtectedBranches": "only_protected_branches",
    }
    _defaults: ClassVar = {"enabled": True, "keepDivergentRefs": True, "onlyProtectedBranches": True}

    @override
    def create(self, inputs: Properties) -> tuple[str, Properties]:
        with refusals("the push mirror"):
            item = self._client.project(inputs["project"]).remote_mirrors.create(
                {"url": inputs["url"], **sent({**self._defaults, **inputs}, self._settable)}
            )
        return f"{inputs['project']}:{item.id}", self._outputs(inputs, item.id)

    @override
    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        project, _, number = id_.rpartition(":")
        with refusals(f"the push mirror {id_}"):
            # python-gitlab's manager has no `get` for mirrors.
            path = f"/projects/{self._client.project(project).encoded_id}/remote_mirrors/{number}"
            item = if_present(lambda: self._client.connection.http_get(path))
        if not isinstance(item, dict):
            return None
        live = received(item, self._settable)
        live |= {"project": project, "url": olds.get("url", item["url"]), "hostKeys": olds.get("hostKeys")}
        outputs = {**live, "url": Secret(live["url"]), "mirrorId": item["id"]}
        return State(id=id_, outputs=outputs, inputs=kept(inputs, live))

    @override
    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        project, _, number = id_.rpartition(":")
        with refusals(f"the push mirror {id_}"):
            self._client.project(project).remote_mirrors.update(int(number), sent(inputs, self._settable))
        return self._outputs(inputs, int(number))

    @override
    def delete(self, id_: str, olds: Properties) -> None:
        project, _, number = id_.rpartition(":")
        with refusals(f"the deletion of the push mirror {id_}"):
            self._client.project(project).remote_mirrors.delete(int(number))

    def _outputs(self, inputs: Properties, mirror_id: int) -> Properties:
        return {**self._defaults, **inputs, "url": Secret(inputs["url"]), "mirrorId": mirror_id}


class Branch(Kind):
    """`gitlab:index/branch:Branch`; `ref` is known only from its creation."""

    replace_on = frozenset({"project", "name", "ref"})
    computed = frozenset({"commits", "canPush", "default", "merged", "protected", "webUrl"})
    _shown: ClassVar = {"canPush": "can_push", "default": "default", "merged": "merged", "protected": "protected"}

    @override
    def create(self, inputs: Properties) -> tuple[str, Properties]:
        with refusals(f"the branch {inputs['name']}"):
            item = self._client.project(inputs["project"]).branches.create(
                {"branch": inputs["name"], "ref": inputs["ref"]}
            )
        return f"{inputs['project']}:{inputs['name']}", self._outputs(inputs, item)

    @override
    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        project, name = id_.split(":", 1)
        with refusals(f"the branch {name}"):
            item = if_present(lambda: self._client.project(project).branches.get(name))
        if item is None:
            return None
        live = {"project": project, "name": name, "ref": olds.get("ref"), "keepOnDestroy": olds.get("keepOnDestroy")}
        return State(id=id_, outputs=self._outputs(live, item), inputs=kept(inputs, live))

    @override
    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        return {**olds, **inputs}  # only `keepOnDestroy` can change, and GitLab does not know it

    @override
    def delete(self, id_: str, olds: Properties) -> None:
        if olds.get("keepOnDestroy"):
            return
        project, name = id_.split(":", 1)
        with refusals(f"the deletion of the branch {name}"):
            self._client.project(project).branches.delete(name)

    def _outputs(self, inputs: Properties, item: Any) -> Properties:
        live = received(item.attributes, self._shown)
        return {**inputs, **live, "commits": [{"id": item.commit["id"], "shortId": item.commit["short_id"]}]}


class BranchProtection(Kind):
    """`gitlab:index/branchProtection:BranchProtection`.

    A Community Edition takes access levels only as `pushAccessLevel`, an Enterprise Edition only as
    `allowedToPushes` (provider 19.0).
    """

    replace_on = frozenset({"project", "branch", "pushAccessLevel", "mergeAccessLevel"})
    computed = frozenset({"branchProtectionId"})
    _granular: ClassVar = {"allowedToPushes": "push", "allowedToMerges": "merge"}

    @override
    def create(self, inputs: Properties) -> tuple[str, Properties]:
        self._check_edition(inputs)
        project, branch = self._client.project(inputs["project"]), inputs["branch"]
        with refusals(f"the protection of the branch {branch}"):
            self._take_over_default(inputs["project"], branch)
            item = project.protectedbranches.create({"name": branch, **self._wanted(inputs)})
        return f"{inputs['project']}:{branch}", {**inputs, "branchProtectionId": item.attributes["id"]}

    @override
    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        project, branch = id_.split(":", 1)
        with refusals(f"the protection of the branch {branch}"):
            item = if_present(lambda: self._client.project(project).protectedbranches.get(branch))
        if item is None:
            return None
        live: Properties = {"project": project, "branch": branch, "allowForcePush": item.allow_force_push}
        for name, action in self._granular.items():
            levels = [LEVEL_NAMES[level["access_level"]] for level in item.attributes[f"{action}_access_levels"]]
            if self._enterprise():
                live[name] = [{"accessLevel": level} for level in levels]
            elif levels:
                live[f"{action}AccessLevel"] = levels[0]
        outputs = {**live, "branchProtectionId": item.attributes["id"]}
        return State(id=id_, outputs=outputs, inputs=kept(inputs, live))

    @override
    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        self._check_edition(inputs)
        project, branch = id_.split(":", 1)
        with refusals(f"the protection of the branch {branch}"):
            protections = self._client.project(project).protectedbranches
            present = protections.get(branch)
            change: dict[str, Any] = {"allow_force_push": inputs.get("allowForcePush", False)}
            for name, action in self._granular.items():
                before = present.attributes[f"{action}_access_levels"]
                wanted = [LEVELS[item["accessLevel"]] for item in inputs.get(name, [])]
                gone = [{"id": item["id"], "_destroy": True} for item in before if item["access_level"] not in wanted]
                known = {item["access_level"] for item in before}
                change[f"allowed_to_{action}"] = gone + [{"access_level": lv} for lv in wanted if lv not in known]
            protections.update(branch, change)
        return {**inputs, "branchProtectionId": olds["branchProtectionId"]}

    @override
    def delete(self, id_: str, olds: Properties) -> None:
        project, branch = id_.split(":", 1)
        with refusals(f"the deletion of the protection of the branch {branch}"):
            self._client.project(project).protectedbranches.delete(branch)

    def _take_over_default(self, id_: str, branch: str) -> None:
        """GitLab already protects the default branch, so the provider unprotects it and protects it again."""
        project = self._client.project(id_)
        present = if_present(lambda: project.protectedbranches.get(branch))
        if present and self._client.connection.projects.get(id_).default_branch == branch:
            project.protectedbranches.delete(branch)

    def _wanted(self, inputs: Properties) -> dict[str, Any]:
        wanted: dict[str, Any] = {"allow_force_push": inputs.get("allowForcePush", False)}
        for name, action in self._granular.items():
            if name in inputs:
                wanted[f"allowed_to_{action}"] = [{"access_level": LEVELS[i["accessLevel"]]} for i in inputs[name]]
            if f"{action}AccessLevel" in inputs:
                wanted[f"{action}_access_level"] = LEVELS[inputs[f"{action}AccessLevel"]]
        return wanted

    def _enterprise(self) -> bool:
        with refusals("the metadata of the instance"):
            metadata = self._client.connection.http_get("/metadata")
        return isinstance(metadata, dict) and bool(metadata["enterprise"])

    def _check_edition(self, inputs: Properties) -> None:
        simple = {"pushAccessLevel", "mergeAccessLevel"} & inputs.keys()
        granular = self._granular.keys() & inputs.keys()
        if wrong := simple if self._enterprise() else granular:
            edition = "an Enterprise Edition" if simple else "a Community Edition"
            raise PluginError(f"{', '.join(sorted(wrong))} cannot be used with {edition} of GitLab")


class ProtectedEnvironment(Kind):
    """`gitlab:index/projectProtectedEnvironment:ProjectProtectedEnvironment`, Premium."""

    replace_on = frozenset({"project", "environment"})

    @override
    def create(self, inputs: Properties) -> tuple[str, Properties]:
        levels = [{"access_level": LEVELS[item["accessLevel"]]} for item in inputs["deployAccessLevelsAttributes"]]
        with refusals(f"the protection of the environment {inputs['environment']}"):
            self._client.project(inputs["project"]).protected_environments.create(
                {"name": inputs["environment"], "deploy_access_levels": levels}
            )
        return f"{inputs['project']}:{inputs['environment']}", inputs

    @override
    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        project, name = id_.split(":", 1)
        with refusals(f"the protection of the environment {name}"):
            item = if_present(lambda: self._client.project(project).protected_environments.get(name))
        if item is None:
            return None
        levels = [{"accessLevel": LEVEL_NAMES[level["access_level"]]} for level in item.deploy_access_levels]
        live = {"project": project, "environment": name, "deployAccessLevelsAttributes": levels}
        return State(id=id_, outputs=live, inputs=kept(inputs, live))

    @override
    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        project, name = id_.split(":", 1)
        wanted = [LEVELS[item["accessLevel"]] for item in inputs["deployAccessLevelsAttributes"]]
        with refusals(f"the protection of the environment {name}"):
            present = self._client.project(project).protected_environments.get(name)
            before = {level["access_level"]: level["id"] for level in present.deploy_access_levels}
            added = [{"access_level": level} for level in wanted if level not in before]
            changes = [
                {"id": number, "access_level": level, **({} if level in wanted else {"_destroy": True})}
                for level, number in before.items()
            ]
            # python-gitlab's manager has no `update`.
            path = f"{present.manager.path}/{present.encoded_id}"
            self._client.connection.http_put(path, post_data={"name": name, "deploy_access_levels": changes + added})
        return inputs

    @override
    def delete(self, id_: str, olds: Properties) -> None:
        project, name = id_.split(":", 1)
        with refusals(f"the deletion of the protection of the environment {name}"):
            self._client.project(project).protected_environments.delete(name)
