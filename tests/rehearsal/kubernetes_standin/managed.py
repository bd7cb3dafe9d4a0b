"""One resource under a plugin, driven as the engine drives it: check, diff, then create, update, replace or retry."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rehearsal.plugins.base import Call, Diff, InitFailedError, Plugin
from rehearsal.plugins.kubernetes.objects import Kind, Name
from rehearsal.plugins.kubernetes.provider import KubernetesPlugin
from rehearsal.plugins.values import Properties

PLACEHOLDER: Final = "registry.test/app:placeholder"
_PATIENCE: Final = 20


@dataclass(kw_only=True)
class Managed:
    """A resource and its state, as a checkpoint would hold it."""

    plugin: Plugin
    type: str
    name: str = "it"
    ignore_changes: tuple[str, ...] = ()
    id: str = ""
    inputs: Properties = field(default_factory=dict)
    outputs: Properties = field(default_factory=dict)
    init_errors: list[str] = field(default_factory=list)

    @property
    def urn(self) -> str:
        """The resource's name in the stack."""
        return f"urn:pulumi:test::test::{self.type}::{self.name}"

    def up(self, inputs: Properties, *, preview: bool = True, timeout: float = 0) -> str:
        """Brings the resource to `inputs`, after the preview that a user gets first; returns the operation it took."""
        if preview:
            self._step(inputs, preview=True, timeout=timeout)
        return self._step(inputs, preview=False, timeout=timeout)

    def preview(self, inputs: Properties) -> str:
        """What `up` would do."""
        return self._step(inputs, preview=True, timeout=0)

    def diff(self, inputs: Properties) -> Diff:
        """How the resource differs from `inputs`."""
        return self.plugin.diff(self._call(self._checked(inputs)))

    def refresh(self) -> None:
        """Reads the live state; removes an object that is gone."""
        call = Call(urn=self.urn, id=self.id, olds=self.outputs, old_inputs=self.inputs)
        try:
            state = self.plugin.read(call)
            self.init_errors = []
        except InitFailedError as error:
            self.id, self.outputs, self.inputs, self.init_errors = error.id, error.outputs, error.inputs, error.reasons
            return
        if state is None:
            self.id, self.outputs, self.inputs = "", {}, {}
        else:
            self.outputs, self.inputs = state.outputs, state.inputs

    def destroy(self, *, timeout: float = 0) -> None:
        """Deletes the object."""
        self.plugin.delete(Call(urn=self.urn, id=self.id, olds=self.outputs, timeout=timeout))
        self.id, self.outputs, self.inputs = "", {}, {}

    def _step(self, inputs: Properties, *, preview: bool, timeout: float) -> str:
        checked = self._checked(inputs)
        if not self.id:
            return self._create(checked, preview=preview, timeout=timeout)
        diff = self.plugin.diff(self._call(checked))
        if diff.replaces:
            if preview:
                return "replace"
            if not diff.delete_before_replace:
                raise NotImplementedError("no test needs a replacement that creates first")
            self.destroy(timeout=timeout)
            self._create(checked, preview=False, timeout=timeout)
            return "replace"
        if not diff.changes and not self.init_errors:
            return "same"
        self._update(checked, preview=preview, timeout=timeout)
        return "update"

    def _create(self, inputs: Properties, *, preview: bool, timeout: float) -> str:
        call = Call(urn=self.urn, inputs=inputs, preview=preview, timeout=timeout)
        try:
            id_, outputs = self.plugin.create(call)
        except InitFailedError as error:
            self.id, self.outputs, self.inputs, self.init_errors = error.id, error.outputs, inputs, error.reasons
            raise
        if not preview:
            self.id, self.outputs, self.inputs, self.init_errors = id_, outputs, inputs, []
        return "create"

    def _update(self, inputs: Properties, *, preview: bool, timeout: float) -> None:
        try:
            outputs = self._update_once_it_rests(self._call(inputs, preview=preview, timeout=timeout))
        except InitFailedError as error:
            if not preview:
                self.outputs, self.inputs, self.init_errors = error.outputs, inputs, error.reasons
            raise
        if not preview:
            self.outputs, self.inputs, self.init_errors = outputs, inputs, []

    def _update_once_it_rests(self, call: Call) -> Properties:
        """Retries if a controller wrote the object's status just then, as a user runs a refused `up` again.

        The plugin takes over others' fields by patching the version that it has read, and neither the real one nor
        the stand-in retries that patch.
        """
        for _ in range(_PATIENCE):
            try:
                return self.plugin.update(call)
            except InitFailedError as error:
                if "the object has been modified" not in str(error):
                    raise
        return self.plugin.update(call)

    def _call(self, inputs: Properties, *, preview: bool = False, timeout: float = 0) -> Call:
        return Call(
            urn=self.urn,
            id=self.id,
            inputs=inputs,
            olds=self.outputs,
            old_inputs=self.inputs,
            ignore_changes=self.ignore_changes,
            preview=preview,
            timeout=timeout,
        )

    def _checked(self, inputs: Properties) -> Properties:
        wanted = copy.deepcopy(inputs)
        for path in self.ignore_changes if self.id else ():
            _take_over(wanted, self.inputs, path.replace("[", ".").replace("]", "").split("."))
        return self.plugin.check(Call(urn=self.urn, inputs=wanted, old_inputs=self.inputs))


def _take_over(wanted: Any, recorded: Any, path: list[str]) -> None:
    """What the engine does for `ignoreChanges`: the recorded input stands in for the program's."""
    first, *rest = path
    key = int(first) if first.isdecimal() else first
    if rest:
        _take_over(wanted[key], recorded[key], rest)
    else:
        wanted[key] = recorded[key]


def configured(kubeconfig: Path, **options: str) -> KubernetesPlugin:
    """The plugin as the program's provider configures it, except for `options`."""
    plugin = KubernetesPlugin()
    plugin.configure({"kubeconfig": str(kubeconfig), "context": "homelab", "enableSecretMutable": "true", **options})
    return plugin


def live(plugin: KubernetesPlugin, resource: Managed) -> Properties:
    """The resource's object as the API server has it."""
    cluster = plugin._cluster
    assert cluster is not None
    return cluster.get(Kind.of_token(resource.type), Name.of_id(resource.id))


def deployment(namespace: str, **annotations: str) -> Properties:
    """Inputs of a Deployment of one container that takes its image from a pipeline."""
    container = {"name": "app", "image": PLACEHOLDER, "env": [{"name": "A", "value": "1"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app", "namespace": namespace, "annotations": dict(annotations)},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "app"}},
            "template": {"metadata": {"labels": {"app": "app"}}, "spec": {"containers": [container]}},
        },
    }


def with_env(inputs: Properties, value: str) -> Properties:
    """Changes the Deployment elsewhere than in its image, as a changed setting or a rotated checksum does."""
    changed = copy.deepcopy(inputs)
    changed["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"] = value
    return changed
