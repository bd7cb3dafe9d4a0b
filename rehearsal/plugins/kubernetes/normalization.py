"""Inputs in the form that the API server returns, so that two notations of the same value are no difference.

The real plugin converts inputs of built-in kinds to the typed Go object and back, cut to the shape of the input:
unknown fields vanish, quantities become canonical, and values that Go leaves out when they are zero are left out. Here
the types are those of the official client. Custom resources stay as they are in both.
"""

from __future__ import annotations

import base64
import binascii
import re
from decimal import Decimal
from functools import cache
from typing import Any, Final

import kubernetes.client
from kubernetes.utils.quantity import parse_quantity

from rehearsal.plugins.kubernetes.objects import Kind, Object
from rehearsal.plugins.values import has_unknown

_READ_ONLY_METADATA: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)

_QUANTITY_MAPS: Final = frozenset(
    {
        "requests",
        "limits",
        "hard",
        "capacity",
        "default",
        "defaultRequest",
        "max",
        "min",
        "maxLimitRequestRatio",
        "overhead",
    }
)
_QUANTITIES: Final = frozenset({"sizeLimit", "divisor"})

# Optional fields that are plain values in Go's types, not pointers: there zero means unset.
_LEFT_OUT_WHEN_ZERO: Final = frozenset(
    {
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "readOnly",
        "stdin",
        "stdinOnce",
        "tty",
        "paused",
        "publishNotReadyAddresses",
        "unschedulable",
        "initialDelaySeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
        "minReadySeconds",
        "hostPort",
        "nodePort",
        "labels",
        "annotations",
        "matchLabels",
        "matchExpressions",
        "value",
        "subPath",
    }
)

_BINARY: Final = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL: Final = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")


def normalize(obj: Object) -> Object:
    """The object in canonical form, without metadata that only the server writes.

    An object with values that are not known yet keeps its form; only that metadata is removed.
    """
    kind = Kind.of(obj)
    model = model_of(kind)
    normal = obj
    if not has_unknown(obj):
        if kind == Kind("v1", "Secret"):
            normal = _normalize_secret(obj)
        elif model is not None:
            normal = _normalize_value(obj, model, "")
    meta = normal.get("metadata")
    if not isinstance(meta, dict):
        return dict(normal)
    return {**normal, "metadata": {key: value for key, value in meta.items() if key not in _READ_ONLY_METADATA}}


@cache
def model_of(kind: Kind) -> type | None:
    """The client's class for a built-in kind, None for custom resources."""
    if kind.group and "." in kind.group and not kind.group.endswith(".k8s.io"):
        return None
    if kind.group.startswith("gateway.networking."):
        return None
    return getattr(kubernetes.client, kind.version.capitalize() + kind.name, None)


def _normalize_value(value: Any, type_: Any, key: str) -> Any:
    if isinstance(value, dict) and hasattr(type_, "openapi_types"):
        fields = {json: type_.openapi_types[name] for name, json in type_.attribute_map.items()}
        return {
            field: normal
            for field, item in value.items()
            if field in fields
            for normal in [_normalize_value(item, _resolve(fields[field]), field)]
            if not (field in _LEFT_OUT_WHEN_ZERO and normal in (False, 0, "", [], {}))
        }
    if isinstance(value, list):
        return [_normalize_value(item, type_, key) for item in value]
    if isinstance(value, dict) and key in _QUANTITY_MAPS:
        return {name: canonical_quantity(item) for name, item in value.items()}
    if key in _QUANTITIES and isinstance(value, str | int | float):
        return canonical_quantity(value)
    return value


@cache
def _resolve(text: str) -> Any:
    """The class in a field's type, e.g. of `List[V1Container]`; None for plain values and maps of them."""
    inner = re.fullmatch(r"(?:List\[|Dict\[str, )?(\w+)\]?", text)
    return getattr(kubernetes.client, inner[1], None) if inner and not text.startswith("Dict") else None


def _normalize_secret(obj: Object) -> Object:
    """`stringData` becomes `data`, which is what the server stores."""
    texts = obj.get("stringData") or {}
    data = {key: _recode(value) for key, value in (obj.get("data") or {}).items()}
    data |= {key: base64.b64encode(str(value).encode()).decode() for key, value in texts.items()}
    normal = {key: value for key, value in obj.items() if key not in ("data", "stringData")}
    if texts or "data" in obj:
        normal["data"] = data
    return normal


def _recode(value: Any) -> Any:
    try:
        return base64.b64encode(base64.b64decode(value, validate=False)).decode()
    except (binascii.Error, TypeError, ValueError):
        return value  # the API server will report what is wrong with it


def canonical_quantity(value: str | float) -> str:
    """A quantity as Go's `resource.Quantity` writes it: `1024Mi` is `1Gi`, `0.5` is `500m`, `1000m` is `1`.

    Anything that is not a quantity is returned unchanged; the API server will refuse it.
    """
    text = str(value)
    try:
        amount = parse_quantity(text)
    except ValueError:
        return text
    if text.endswith("i"):
        exact = [(amount / Decimal(1024) ** (index + 1), suffix) for index, suffix in enumerate(_BINARY)]
        whole = [(number, suffix) for number, suffix in exact if number == number.to_integral_value()]
        if whole and amount:
            number, suffix = whole[-1]
            return f"{int(number)}{suffix}"
    for power, suffix in reversed(list(enumerate(_DECIMAL))):
        number = amount / Decimal(1000) ** (power - 3)
        if number == number.to_integral_value() and (amount or not suffix):
            return f"{int(number)}{suffix}"
    return text
