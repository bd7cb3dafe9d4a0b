"""Live objects cut down to the shape of the inputs that made them: what `Read` records as the inputs.

The API server adds fields that nobody set; only those that the program stated may count as drift. This is also how
`refresh: always` puts the image that the app's pipeline has set into the recorded inputs.
"""

from __future__ import annotations

from typing import Any

from rehearsal.plugins.kubernetes.objects import Object


def prune(live: Object, shape: Object) -> Object:
    """The parts of `live` that have a counterpart in `shape`, lists by position. Values are those of `live`.

    Where the two hold values of different types, the live one is kept whole.
    """
    return {key: _prune_value(value, shape[key]) for key, value in live.items() if key in shape}


def _prune_value(value: Any, shape: Any) -> Any:
    if isinstance(value, dict) and isinstance(shape, dict):
        return prune(value, shape)
    if isinstance(value, list) and isinstance(shape, list):
        return _prune_list(value, shape)
    return value


def _prune_list(live: list[Any], shape: list[Any]) -> list[Any]:
    if not live or not shape:
        return []
    if type(live[0]) is not type(shape[0]):
        return live
    return [_prune_value(value, counterpart) for value, counterpart in zip(live, shape, strict=False)]
