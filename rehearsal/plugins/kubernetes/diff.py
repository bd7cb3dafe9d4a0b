"""The differences between an object as recorded and as wanted, in the engine's terms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from rehearsal.plugins.base import DiffKind
from rehearsal.plugins.kubernetes.objects import Object
from rehearsal.plugins.values import UNKNOWN

Path: TypeAlias = tuple[str | int, ...]

_REPLACING: Final = {
    DiffKind.ADD: DiffKind.ADD_REPLACE,
    DiffKind.DELETE: DiffKind.DELETE_REPLACE,
    DiffKind.UPDATE: DiffKind.UPDATE_REPLACE,
}

_MISSING: Final = object()

_ELEMENT: Final = re.compile(r"""\.?([^.\[\]"]+)|\[(\d+|\*)\]|\["((?:[^"\\]|\\.)*)"\]""")


@dataclass(frozen=True)
class _Change:
    path: Path
    kind: DiffKind
    new: Any


def changes(
    old: Object, new: Object, *, force_new: Sequence[Sequence[str]], ignore: Sequence[str] = ()
) -> dict[str, DiffKind]:
    """Property path to kind of change; the kind is a replacing one if the change touches a path of `force_new`.

    `old` is the recorded live object in the shape of the recorded inputs, `new` the wanted inputs. Paths of `ignore`,
    and everything below them, are left out.
    """
    ignored = [parse_path(path) for path in ignore]
    return {
        path_text(change.path): _REPLACING[change.kind] if _touches(change, force_new) else change.kind
        for change in _map_changes((), old, new)
        if not any(_contains(path, change.path) for path in ignored)
    }


def _map_changes(path: Path, old: Object, new: Object) -> Iterator[_Change]:
    for key in [*new, *(key for key in old if key not in new)]:
        yield from _value_changes((*path, key), old.get(key, _MISSING), new.get(key, _MISSING))


def _value_changes(path: Path, old: Any, new: Any) -> Iterator[_Change]:
    if new is _MISSING:
        yield _Change(path, DiffKind.DELETE, None)
    elif old is _MISSING:
        yield _Change(path, DiffKind.ADD, new)
    elif isinstance(old, dict) and isinstance(new, dict):
        yield from _map_changes(path, old, new)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            yield from _value_changes(
                (*path, index),
                old[index] if index < len(old) else _MISSING,
                new[index] if index < len(new) else _MISSING,
            )
    elif new is UNKNOWN or isinstance(old, bool) is not isinstance(new, bool) or old != new:
        yield _Change(path, DiffKind.UPDATE, new)


def _touches(change: _Change, fields: Sequence[Sequence[str]]) -> bool:
    return any(_field_in(change, field) for field in fields)


def _field_in(change: _Change, field: Sequence[str]) -> bool:
    for element, wanted in zip(change.path, field, strict=False):
        if not (element == wanted or (wanted == "*" and isinstance(element, int))):
            return False
    # The change may be above the field: a whole `spec` that is added or removed includes its fields.
    return _holds(change.new, field[len(change.path) :])


def _holds(value: Any, rest: Sequence[str]) -> bool:
    if not rest:
        return True
    if rest[0] == "*":
        return isinstance(value, list) and any(_holds(item, rest[1:]) for item in value)
    return isinstance(value, dict) and rest[0] in value and _holds(value[rest[0]], rest[1:])


def path_text(path: Path) -> str:
    """A path as the engine writes it: `spec.containers[0].env`, `data["a.b"]`."""
    text = ""
    for element in path:
        if isinstance(element, int):
            text += f"[{element}]"
        elif re.search(r'[."\[\]]', element):
            escaped = element.replace('"', '\\"')
            text += f'["{escaped}"]'
        else:
            text += f".{element}" if text else element
    return text


def parse_path(text: str) -> Path:
    """A path from the engine's text; `[*]` becomes `"*"`."""
    path: list[str | int] = []
    for name, index, quoted in _ELEMENT.findall(text):
        if index:
            path.append(index if index == "*" else int(index))
        else:
            path.append(name or quoted.replace('\\"', '"'))
    return tuple(path)


def _contains(ignored: Path, path: Path) -> bool:
    return len(ignored) <= len(path) and all(
        wanted in ("*", element) for wanted, element in zip(ignored, path, strict=False)
    )
