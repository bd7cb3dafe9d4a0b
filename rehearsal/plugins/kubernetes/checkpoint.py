"""What the engine records of an object: its live state, the inputs that made it, and what of both is secret."""

from __future__ import annotations

from typing import Any, Final

from rehearsal.plugins.kubernetes.objects import Object, strip
from rehearsal.plugins.values import Properties, Secret, has_secret

_INPUTS: Final = "__inputs"
_API_VERSION: Final = "__initialApiVersion"
_FIELD_MANAGER: Final = "__fieldManager"


def checkpoint(*, live: Object, inputs: Object, secrets_of: Properties, field_manager: str) -> Properties:
    """The outputs of a resource.

    `secrets_of`: properties as the engine sent them; what is secret there is secret in the outputs and in the inputs
    among them. As in the real plugin, the outputs record the inputs a second time: `Diff` and `Delete` read them there.
    """
    return {
        **mark_secrets(live, secrets_of),
        _INPUTS: mark_secrets(inputs, secrets_of),
        _API_VERSION: inputs.get("apiVersion") or live.get("apiVersion") or "",
        _FIELD_MANAGER: field_manager,
    }


def recorded(outputs: Properties) -> tuple[Object, Object]:
    """The inputs and the live object in a resource's outputs, secret marks removed."""
    state: Object = strip(outputs)
    inputs = state.pop(_INPUTS, {})
    state.pop(_API_VERSION, None)
    state.pop(_FIELD_MANAGER, None)
    return inputs, state


def recorded_field_manager(outputs: Properties) -> str | None:
    """The field manager that applies the object's fields; None before the first checkpoint."""
    name = outputs.get(_FIELD_MANAGER)
    return name if isinstance(name, str) else None


def mark_secrets(obj: Object, like: Any) -> Properties:
    """The object with every value marked secret whose counterpart in `like` is, or holds, a secret.

    The data of a Secret always is. Lists are not marked item by item: one secret in a list makes all of it secret.
    """
    if obj.get("kind") == "Secret":
        return {key: Secret(value) if key in ("data", "stringData") else value for key, value in obj.items()}
    if not isinstance(like, dict):
        return dict(obj)
    return {key: _mark(value, like.get(key)) for key, value in obj.items()}


def _mark(value: Any, like: Any) -> Any:
    if isinstance(value, dict) and isinstance(like, dict):
        return mark_secrets(value, like)
    return Secret(value) if has_secret(like) else value
