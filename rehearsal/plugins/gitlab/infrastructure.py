"""PipelineSchedule and TagProtection."""

from __future__ import annotations

from typing import ClassVar

import gitlab
from typing_extensions import override

from rehearsal.plugins.base import PluginError, State
from rehearsal.plugins.gitlab.client import Kind, if_present, kept, received, refusals, sent
from rehearsal.plugins.gitlab.repository import LEVEL_NAMES, LEVELS
from rehearsal.plugins.values import Properties


class PipelineSchedule(Kind):
    """`gitlab:index/pipelineSchedule:PipelineSchedule`."""

    replace_on = frozenset({"project"})
    computed = frozenset({"pipelineScheduleId"})
    _settable: ClassVar = {
        "description": "description",
        "ref": "ref",
        "cron": "cron",
        "cronTimezone": "cron_timezone",
        "active": "active",
    }
    _defaults: ClassVar = {"active": True, "cronTimezone": "UTC"}

    @override
    def create(self, inputs: Properties) -> tuple[str, Properties]:
        with refusals("the pipeline schedule"):
            wanted = sent({**self._defaults, **inputs}, self._settable)
            item = self._client.project(inputs["project"]).pipelineschedules.create(wanted)
        return f"{inputs['project']}:{item.id}", self._outputs(inputs, item.id)

    @override
    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        project, _, number = id_.rpartition(":")
        with refusals(f"the pipeline schedule {id_}"):
            item = if_present(lambda: self._client.project(project).pipelineschedules.get(int(number)))
        if item is None:
            return None
        live = {**received(item.attributes, self._settable), "project": project}
        return State(id=id_, outputs={**live, "pipelineScheduleId": item.id}, inputs=kept(inputs, live))

    @override
    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        project, _, number = id_.rpartition(":")
        with refusals(f"the pipeline schedule {id_}"):
            self._client.project(project).pipelineschedules.update(int(number), sent(inputs, self._settable))
        return self._outputs(inputs, int(number))

    @override
    def delete(self, id_: str, olds: Properties) -> None:
        project, _, number = id_.rpartition(":")
        with refusals(f"the deletion of the pipeline schedule {id_}"):
            self._client.project(project).pipelineschedules.delete(int(number))

    def _outputs(self, inputs: Properties, number: int) -> Properties:
        return {**self._defaults, **inputs, "pipelineScheduleId": number}


class TagProtection(Kind):
    """`gitlab:index/tagProtection:TagProtection`; GitLab's API cannot change one."""

    replace_on = frozenset({"project", "tag", "createAccessLevel"})

    @override
    def create(self, inputs: Properties) -> tuple[str, Properties]:
        level = LEVELS[inputs.get("createAccessLevel", "maintainer")]
        wanted = {"name": inputs["tag"], "create_access_level": level}
        tags = self._client.project(inputs["project"]).protectedtags
        with refusals(f"the protection of the tags {inputs['tag']}"):
            try:
                tags.create(wanted)
            except gitlab.GitlabError:
                # The provider takes every refusal for that of a second protection, and replaces the first.
                tags.delete(inputs["tag"])
                tags.create(wanted)
        return f"{inputs['project']}:{inputs['tag']}", inputs

    @override
    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        project, tag = id_.split(":", 1)
        with refusals(f"the protection of the tags {tag}"):
            item = if_present(lambda: self._client.project(project).protectedtags.get(tag))
        if item is None:
            return None
        (level, *_) = item.create_access_levels
        live = {"project": project, "tag": tag, "createAccessLevel": LEVEL_NAMES[level["access_level"]]}
        return State(id=id_, outputs=live, inputs=kept(inputs, live))

    @override
    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        raise PluginError("tag protection cannot be updated, only replaced")

    @override
    def delete(self, id_: str, olds: Properties) -> None:
        project, tag = id_.split(":", 1)
        with refusals(f"the deletion of the protection of the tags {tag}"):
            self._client.project(project).protectedtags.delete(tag)
