"""The official client's request types, as checks that refuse unknown keys."""

from __future__ import annotations

import types
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Required, Union, get_args, get_origin

from cloudflare._types import SequenceNotStr
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model

# The client uses those of typing_extensions, which `typing`'s functions do not know before Python 3.13.
from typing_extensions import get_type_hints, is_typeddict

_MANY = {Iterable, Sequence, SequenceNotStr, list}


def check(type_: Any, request: Any) -> None:
    """Raises pydantic's ValidationError if `request` is not what the client would accept and send."""
    TypeAdapter(_closed(type_)).validate_python(request)


def _closed(type_: Any) -> Any:
    """The type with every TypedDict in it closed; a protocol for "any sequence" becomes a list."""
    if is_typeddict(type_):
        return _model(type_)
    origin: Any = get_origin(type_)
    arguments = get_args(type_)
    if origin in {Union, types.UnionType}:
        return Union[tuple(_closed(each) for each in arguments)]  # noqa: UP007 - made at run time
    if origin in _MANY:
        return list[_closed(arguments[0])]  # type: ignore[misc] # made at run time
    if origin in {Annotated, Required}:
        return _closed(arguments[0])
    return type_


def _model(type_: Any) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for name, hint in get_type_hints(type_, include_extras=True).items():
        # Not `__required_keys__`: the annotations are strings, in which it does not see Required.
        origin: Any = get_origin(hint)
        default = ... if origin is Required else None
        fields[name] = (_closed(hint), Field(default, alias=_alias(hint) or name, validate_default=False))
    made: type[BaseModel] = create_model(type_.__name__, __config__=ConfigDict(extra="forbid"), **fields)
    return made


def _alias(hint: Any) -> str | None:
    """The key's name on the wire."""
    origin: Any = get_origin(hint)
    if origin is Required:
        return _alias(get_args(hint)[0])
    return next((one.alias for one in getattr(hint, "__metadata__", ()) if getattr(one, "alias", None)), None)
