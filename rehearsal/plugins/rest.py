"""Stand-ins for providers that are thin layers over a REST API: one `ResourceKind` for each resource type.

The diff compares inputs property by property, as the bridged providers do; a kind names the properties whose change
replaces the resource.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from rehearsal.plugins.base import Call, Diff, DiffKind, Plugin, PluginError, State
from rehearsal.plugins.values import UNKNOWN, Properties, Secret, has_secret, plain


class ResourceKind(ABC):
    """One resource type. `inputs` given to the methods are plain (no secret marks, nothing unknown)."""

    replace_on: ClassVar[frozenset[str]] = frozenset()
    delete_before_replace: ClassVar[bool] = False
    optional: ClassVar[frozenset[str]] = frozenset()
    """Inputs for which the real provider compares with what it has read: it removes what somebody has added."""
    computed: ClassVar[frozenset[str]] = frozenset()
    """Outputs that are unknown until the object exists; a preview of a create shows them as unknown."""

    def check(self, inputs: Properties) -> Properties:
        """The inputs to record, with defaults; raises `CheckFailedError`. Values may be secret or unknown."""
        return inputs

    @abstractmethod
    def create(self, inputs: Properties) -> tuple[str, Properties]:
        """Creates the object; returns id and outputs (wrap in `Secret` what the real provider marks)."""

    @abstractmethod
    def read(self, id_: str, inputs: Properties, olds: Properties) -> State | None:
        """The object as it is; `inputs` is empty in an import; None if it is gone."""

    @abstractmethod
    def update(self, id_: str, inputs: Properties, olds: Properties) -> Properties:
        """Changes the object in place; returns its outputs."""

    @abstractmethod
    def delete(self, id_: str, olds: Properties) -> None:
        """Deletes the object."""


class RestPlugin(Plugin):
    """Dispatches to `kinds` (type token -> kind) and `functions` (token -> function of plain arguments)."""

    kinds: Mapping[str, ResourceKind]
    functions: Mapping[str, Callable[[Properties], Properties]]

    def _kind(self, call: Call) -> ResourceKind:
        try:
            return self.kinds[call.type]
        except KeyError:
            raise PluginError(
                f"this stand-in does not support the resource {call.type}; it supports {sorted(self.kinds)}"
            ) from None

    def check(self, call: Call) -> Properties:
        return self._kind(call).check(call.inputs)

    def diff(self, call: Call) -> Diff:
        kind = self._kind(call)
        found, news = plain(call.olds), plain(call.inputs)
        olds = {**plain(call.old_inputs), **{name: found[name] for name in kind.optional if found.get(name)}}
        changes: dict[str, DiffKind] = {}
        for name in sorted(olds.keys() | news.keys()):
            if name in call.ignore_changes or olds.get(name) == news.get(name):
                continue
            step = DiffKind.ADD if name not in olds else DiffKind.DELETE if name not in news else DiffKind.UPDATE
            changes[name] = DiffKind(step + 1) if name in kind.replace_on else step
        return Diff(changes=changes, delete_before_replace=kind.delete_before_replace)

    def create(self, call: Call) -> tuple[str, Properties]:
        kind = self._kind(call)
        if call.preview:
            return "", {**dict.fromkeys(kind.computed, UNKNOWN), **call.inputs}
        id_, outputs = kind.create(plain(call.inputs))
        return id_, _marked(outputs, call.inputs)

    def read(self, call: Call) -> State | None:
        state = self._kind(call).read(call.id, plain(call.old_inputs), plain(call.olds))
        if state is None:
            return None
        inputs, outputs = _marked(state.inputs, call.old_inputs), _marked(state.outputs, call.olds)
        return State(id=state.id, inputs=inputs, outputs=outputs)

    def update(self, call: Call) -> Properties:
        if call.preview:
            dropped = call.old_inputs.keys() - call.inputs.keys()
            return {**{name: value for name, value in call.olds.items() if name not in dropped}, **call.inputs}
        return _marked(self._kind(call).update(call.id, plain(call.inputs), plain(call.olds)), call.inputs)

    def delete(self, call: Call) -> None:
        self._kind(call).delete(call.id, plain(call.olds))

    def invoke(self, token: str, args: Properties) -> Properties:
        try:
            function = self.functions[token]
        except KeyError:
            raise PluginError(
                f"this stand-in does not support the function {token}; it supports {sorted(self.functions)}"
            ) from None
        return function(args)


def extract_inputs(inputs: Properties, outputs: Properties) -> Properties:
    """The inputs as a refresh finds them: what of `outputs` `inputs` already had (the bridge's extractInputs)."""
    return {name: _extracted(value, outputs[name]) for name, value in inputs.items() if outputs.get(name) is not None}


def _extracted(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return extract_inputs(old, new)
    if isinstance(old, list) and isinstance(new, list):
        return [_extracted(*pair) for pair in zip(old, new, strict=False)]
    return new


def _marked(news: Properties, olds: Properties) -> Properties:
    """`news`, secret wherever `olds` is, as the engine marks it for the bridged plugins (annotateSecrets)."""
    return {name: _mark(value, olds.get(name)) for name, value in news.items()}


def _mark(new: Any, old: Any) -> Any:
    if isinstance(new, dict) and isinstance(old, dict):
        return _marked(new, old)
    if new is None or isinstance(new, Secret) or not has_secret(old):
        return new
    return Secret(plain(new))
