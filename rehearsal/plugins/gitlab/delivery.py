"""ProjectEnvironment, ProjectVariable, ProjectDeployToken."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any, ClassVar

from gitlab.v4.objects import ProjectEnvironment as LiveEnvironment
from typing_extensions import override

from rehearsal.plugins.base import PluginError, State
from rehearsal.plugins.gitlab.client import Kind, if_present, kept, received, refusals, sent
from rehearsal.plugins.values import Properties, Secret

STOP_TIMEOUT = 600.0
"""Seconds that an environment has to stop before it is deleted; the provider waits without a documented limit."""


class Environment(Kind):
    """`gitlab:index/projectEnvironment:ProjectEnvironment`; its id is `project:number`."""

    replace_on = frozenset({"project", "name"})
    computed = frozenset({"autoStopAt", "createdAt", "slug", "state", "updatedAt"})
    _settable: ClassVar = {
        "externalUrl": "external_url",
        "tier": "tier",
        "description": "description",
        "autoStopSetting": "auto_stop_setting",
        "kubernetesNamespace": "kubernetes_namespace",
    }
    _shown: ClassVar = {
        "name": "name",
        **_settable,
        "autoStopAt": "auto_stop_at",
        "createdAt": "created_at",
        "slug": "slug",
        "state": "state",
        "updatedAt": "updated_at",
    }

    @override
    def create(self, inputs: Properties) -> tuple[str, Properties]:
        with refusals(f"the environment {inputs['name']}"):
            item = self._client.project(inputs["project"]).environments.create(
                {"name": inputs["name"], **sent(inputs, self._settable)}
            )
        return f"{inputs['project']}:{item.id}", {**inputs, **received(item.attributes, self._shown)}

    @override
    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        project, _, number = id_.rpartition(":")
        item = self._get(project, number)
        if item is None:
            return None
        live = {"project": project, **received(item.attributes, self._shown)}
        # `stopBeforeDestroy` is the provider's own: GitLab does not know it, so an import cannot find it.
        outputs = {**live, "stopBeforeDestroy": olds.get("stopBeforeDestroy", False)}
        settable = {name: live[name] for name in ("project", "name", *self._settable)}
        return State(id=id_, outputs=outputs, inputs=kept(inputs, settable))

    @override
    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        project, _, number = id_.rpartition(":")
        with refusals(f"the environment {inputs['name']}"):
            manager = self._client.project(project).environments
            manager.update(int(number), sent(inputs, self._settable))
            item = manager.get(int(number))
        return {**inputs, **received(item.attributes, self._shown)}

    @override
    def delete(self, id_: str, olds: Properties) -> None:
        project, _, number = id_.rpartition(":")
        environments = self._client.project(project).environments
        with refusals(f"the deletion of the environment {olds['name']}"):
            if olds.get("stopBeforeDestroy"):  # fails if the environment is gone
                self._stop(project, environments.get(int(number), lazy=True), olds)
            if item := if_present(lambda: environments.get(int(number))):
                item.delete()

    def _get(self, project: str, number: str) -> LiveEnvironment | None:
        with refusals(f"the environment {project}:{number}"):
            return if_present(lambda: self._client.project(project).environments.get(int(number)))

    def _stop(self, project: str, item: LiveEnvironment, olds: Properties) -> None:
        item.stop(post_data={"force": olds.get("autoStopSetting") == "with_action"})
        deadline = time.monotonic() + STOP_TIMEOUT
        while self._client.project(project).environments.get(item.id).state != "stopped":
            if time.monotonic() > deadline:
                raise PluginError(f"the environment {olds['name']} did not stop within {STOP_TIMEOUT:.0f} s")
            time.sleep(0.2)


class Variable(Kind):
    """`gitlab:index/projectVariable:ProjectVariable`; its id is `project:key:scope`. The value is not marked secret."""

    replace_on = frozenset({"project", "key", "environmentScope", "hidden"})
    _settable: ClassVar = {
        "value": "value",
        "description": "description",
        "masked": "masked",
        "protected": "protected",
        "raw": "raw",
        "variableType": "variable_type",
    }
    _shown: ClassVar = {"key": "key", "environmentScope": "environment_scope", "hidden": "hidden", **_settable}

    @override
    def create(self, inputs: Properties) -> tuple[str, Properties]:
        scope = inputs.get("environmentScope", "*")
        with refusals(self._subject(inputs["key"], scope)):
            item = self._client.project(inputs["project"]).variables.create(
                {
                    "key": inputs["key"],
                    "environment_scope": scope,
                    **({"masked_and_hidden": True} if inputs.get("hidden") else {}),
                    **sent(inputs, self._settable),
                }
            )
        return f"{inputs['project']}:{inputs['key']}:{scope}", {**inputs, **received(item.attributes, self._shown)}

    @override
    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        project, key, scope = id_.split(":", 2)
        with refusals(self._subject(key, scope)):
            item = if_present(lambda: self._client.project(project).variables.get(key, **_filter(scope)))
        if item is None:
            return None
        live = {"project": project, **received(item.attributes, self._shown)}
        return State(id=id_, outputs=live, inputs=kept(inputs, live))

    @override
    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        project, key, scope = id_.split(":", 2)
        with refusals(self._subject(key, scope)):
            variables = self._client.project(project).variables
            variables.update(key, sent(inputs, self._settable), **_filter(scope))
            item = variables.get(key, **_filter(scope))
        return {**inputs, **received(item.attributes, self._shown)}

    @override
    def delete(self, id_: str, olds: Properties) -> None:
        project, key, scope = id_.split(":", 2)
        with refusals(f"the deletion of {self._subject(key, scope)}"):
            if_present(lambda: self._client.project(project).variables.delete(key, **_filter(scope)))

    @staticmethod
    def _subject(key: str, scope: str) -> str:
        return f"the CI variable {key} of scope {scope}"


def _filter(scope: str) -> dict[str, Any]:
    return {"filter": {"environment_scope": scope}}


class DeployToken(Kind):
    """`gitlab:index/projectDeployToken:ProjectDeployToken`: no update; GitLab shows the token only at its creation."""

    replace_on = frozenset({"project", "name", "scopes", "expiresAt", "username", "validatePastExpirationDate"})
    computed = frozenset({"username", "token", "expired", "revoked"})
    _settable: ClassVar = {"name": "name", "scopes": "scopes", "expiresAt": "expires_at", "username": "username"}
    _shown: ClassVar = {"username": "username", "expired": "expired", "revoked": "revoked"}

    @override
    def create(self, inputs: Properties) -> tuple[str, Properties]:
        if inputs.get("validatePastExpirationDate") and _instant(inputs.get("expiresAt")) < dt.datetime.now(dt.UTC):
            raise PluginError(f"the deploy token {inputs['name']} would expire in the past: {inputs['expiresAt']}")
        with refusals(f"the deploy token {inputs['name']}"):
            item = self._client.project(inputs["project"]).deploytokens.create(sent(inputs, self._settable))
        return f"{inputs['project']}:{item.id}", {
            **inputs,
            **received(item.attributes, self._shown),
            "token": Secret(item.token),
        }

    @override
    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        project, _, number = id_.rpartition(":")
        with refusals(f"the deploy token {id_}"):
            item = if_present(lambda: self._client.project(project).deploytokens.get(int(number)))
        if item is None:
            return None
        live = {"project": project, **received(item.attributes, {**self._settable, **self._shown})}
        if "expiresAt" in inputs and _instant(inputs["expiresAt"]) == _instant(live["expiresAt"]):
            live["expiresAt"] = inputs["expiresAt"]  # GitLab writes the same moment with milliseconds
        if sorted(inputs.get("scopes", [])) == sorted(live["scopes"]):
            live["scopes"] = inputs["scopes"]
        token = {"token": Secret(olds["token"])} if "token" in olds else {}
        settable = {name: live[name] for name in ("project", *self._settable)}
        return State(id=id_, outputs={**live, **token}, inputs=kept(inputs, settable))

    @override
    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        raise PluginError("a deploy token cannot be changed")

    @override
    def delete(self, id_: str, olds: Properties) -> None:
        project, _, number = id_.rpartition(":")
        with refusals(f"the deletion of the deploy token {olds['name']}"):
            self._client.project(project).deploytokens.delete(int(number))  # a missing token is an error, too


def _instant(text: str | None) -> dt.datetime:
    return dt.datetime.fromisoformat(text) if text else dt.datetime.max.replace(tzinfo=dt.UTC)
