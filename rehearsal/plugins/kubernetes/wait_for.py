"""The `pulumi.com/waitFor` annotation: what must be true of an object before the program continues."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import jsonpath_rfc9535

from rehearsal.plugins.kubernetes.objects import Object, condition

_JSONPATH: Final = re.compile(r"(?s)\{(?P<path>.*)\}(?:=(?P<value>.*))?")


class WaitForError(Exception):
    """An annotation that cannot be parsed."""


@dataclass(frozen=True)
class Expectation:
    """One expression, and the function that tells whether an object satisfies it."""

    text: str
    is_met: Callable[[Object], bool]


def expectations(value: str) -> list[Expectation]:
    """The expressions of an annotation: one, or a JSON list of them. Raises `WaitForError`."""
    try:
        texts = json.loads(value)
    except ValueError:
        texts = [value]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        texts = [value]
    if not texts:
        raise WaitForError("at least one condition must be specified")
    return [_expectation(text) for text in texts]


def _expectation(text: str) -> Expectation:
    if text.startswith("jsonpath="):
        return _jsonpath(text.removeprefix("jsonpath="))
    if text.startswith("condition="):
        type_, _, status = text.removeprefix("condition=").partition("=")

        def is_met(obj: Object) -> bool:
            found = condition(obj, type_)
            return found is not None and found.get("status") == (status or "True")

        return Expectation(text, is_met)
    raise WaitForError(f'expected a "jsonpath=" or "condition=" prefix, got "{text}"')


def _jsonpath(text: str) -> Expectation:
    parts = _JSONPATH.fullmatch(text)
    if parts is None:
        raise WaitForError(f"{text} should be wrapped in brackets {{ ... }}")
    wanted = parts["value"]
    if wanted == "":
        raise WaitForError(f"{text} requires a value")
    path = parts["path"].strip()
    try:
        query = jsonpath_rfc9535.compile(path if path.startswith("$") else f"${path}")
    except jsonpath_rfc9535.JSONPathError as error:
        raise WaitForError(f'parsing "{text}": {error}') from error

    def is_met(obj: Object) -> bool:
        values = query.find(obj).values()
        if not values:
            return False
        if wanted is None:
            return True
        if isinstance(values[0], dict | list):
            raise WaitForError(f'"{text}" has a non-primitive value')
        found = str(values[0]).lower() if isinstance(values[0], bool) else str(values[0])
        return found == wanted

    return Expectation(text, is_met)
