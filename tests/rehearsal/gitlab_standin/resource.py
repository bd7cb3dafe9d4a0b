"""The inputs of every resource of the stand-in for pulumi-gitlab, and what the engine does with one resource."""

from __future__ import annotations

from rehearsal.plugins.base import Call, Diff, State
from rehearsal.plugins.gitlab.plugin import GitLabPlugin
from rehearsal.plugins.values import Properties

PROJECT = "57"
HOST_KEY = "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"

ENVIRONMENT = {
    "project": PROJECT,
    "name": "development",
    "tier": "development",
    "externalUrl": "https://invoicetron.dev.k8s.rommelporras.com",
    "stopBeforeDestroy": True,
}
VARIABLE = {
    "project": PROJECT,
    "key": "KUBE_TOKEN",
    "value": "aaaa.bbbb.cccc",
    "masked": True,
    "raw": True,
    "environmentScope": "development",
}
TOKEN = {
    "project": PROJECT,
    "name": "invoicetron-pull-dev",
    "scopes": ["read_registry"],
    "expiresAt": "2097-12-31T23:59:59Z",
}
MIRROR = {
    "project": PROJECT,
    "url": "ssh://git@github.com/rommelporras/invoicetron.git",
    "authMethod": "ssh_public_key",
    "hostKeys": [HOST_KEY],
    "enabled": True,
    "keepDivergentRefs": True,
}
BRANCH = {"project": PROJECT, "name": "develop", "ref": "main", "keepOnDestroy": False}
LEVELS = {"allowedToPushes": [{"accessLevel": "developer"}], "allowedToMerges": [{"accessLevel": "developer"}]}
PROTECTION = {"project": PROJECT, "branch": "develop", "allowForcePush": False, **LEVELS}
GUARDED = {
    "project": PROJECT,
    "environment": "production",
    "deployAccessLevelsAttributes": [{"accessLevel": "maintainer"}],
}
SCHEDULE = {
    "project": PROJECT,
    "description": "checks",
    "ref": "refs/heads/main",
    "cron": "30 6 * * *",
    "cronTimezone": "Etc/UTC",
    "active": True,
}
TAGS = {"project": PROJECT, "tag": "v*", "createAccessLevel": "maintainer"}

RESOURCES: dict[str, Properties] = {
    "projectEnvironment:ProjectEnvironment": ENVIRONMENT,
    "projectVariable:ProjectVariable": VARIABLE,
    "projectDeployToken:ProjectDeployToken": TOKEN,
    "projectPushMirror:ProjectPushMirror": MIRROR,
    "branch:Branch": BRANCH,
    "branchProtection:BranchProtection": PROTECTION,
    "projectProtectedEnvironment:ProjectProtectedEnvironment": GUARDED,
    "pipelineSchedule:PipelineSchedule": SCHEDULE,
    "tagProtection:TagProtection": TAGS,
}


class Resource:
    """One resource of the plugin with what the engine remembers of it."""

    def __init__(self, plugin: GitLabPlugin, kind: str) -> None:
        self._plugin, self._urn = plugin, f"urn:pulumi:dev::invoicetron::gitlab:index/{kind}::it"
        self.id, self.inputs, self.outputs = "", Properties(), Properties()

    def create(self, inputs: Properties) -> Resource:
        self.id, self.outputs = self._plugin.create(Call(urn=self._urn, inputs=inputs))
        self.inputs = inputs
        return self

    def refresh(self) -> State | None:
        state = self._plugin.read(Call(urn=self._urn, id=self.id, olds=self.outputs, old_inputs=self.inputs))
        if state is not None:
            self.inputs, self.outputs = state.inputs, state.outputs
        return state

    def found(self, id_: str) -> State | None:
        """What an import finds."""
        return self._plugin.read(Call(urn=self._urn, id=id_))

    def diff(self, inputs: Properties) -> Diff:
        call = Call(urn=self._urn, id=self.id, olds=self.outputs, old_inputs=self.inputs, inputs=inputs)
        return self._plugin.diff(call)

    def update(self, inputs: Properties) -> None:
        call = Call(urn=self._urn, id=self.id, olds=self.outputs, old_inputs=self.inputs, inputs=inputs)
        self.outputs, self.inputs = self._plugin.update(call), inputs

    def delete(self) -> None:
        self._plugin.delete(Call(urn=self._urn, id=self.id, olds=self.outputs))


def configured(url: str, token: str) -> GitLabPlugin:
    plugin = GitLabPlugin()
    plugin.configure({"baseUrl": url, "token": token})
    return plugin


def created(plugin: GitLabPlugin, kind: str) -> Resource:
    if kind.startswith("branchProtection"):
        created(plugin, "branch:Branch")
    return Resource(plugin, kind).create(RESOURCES[kind])
