"""The base of every section of a stack file (closed, frozen, camelCase), and the resources of one container.

The defaults of all sections are those of the homelab's hand-made deployment; a stack file contains only what differs.
"""

from __future__ import annotations

import datetime as dt
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from settings.errors import refusal
from settings.quantities import Cpu, Memory

RUNNING: Final = "running"
"""Key of the validation context: the stack is up and only inspected, so a date in the past is no mistake."""


def today() -> dt.date:
    """Today in UTC, in which GitLab counts the days of a token."""
    return dt.datetime.now(dt.UTC).date()


class Section(BaseModel):
    """Base of every section: camelCase in the stack file, snake_case in Python, no unknown keys, frozen."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,  # "yes" is no boolean and "7" no number: a typing error is not read as something else
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )


class Amounts(Section):
    """CPU (in cores) and memory (in bytes) of one container."""

    cpu: Cpu
    memory: Memory


class Resources(Section):
    """What one container is guaranteed (`requests`) and what it gets at most (`limits`)."""

    requests: Amounts
    limits: Amounts

    @field_validator("limits")
    @classmethod
    def _requests_fit(cls, limits: Amounts, info: ValidationInfo) -> Amounts:
        requests: Amounts | None = info.data.get("requests")
        for name in ("cpu", "memory"):
            least, most = getattr(requests, name, None), getattr(limits, name)
            if least is not None and least.amount > most.amount:
                raise refusal(f"{least} (requests.{name}) or more", key=name, given=repr(str(most)))
        return limits

    @classmethod
    def of(cls, *, cpu: tuple[str, str], memory: tuple[str, str]) -> Self:
        """Resources from (request, limit) pairs."""
        return cls(
            requests=Amounts(cpu=Cpu(cpu[0]), memory=Memory(memory[0])),
            limits=Amounts(cpu=Cpu(cpu[1]), memory=Memory(memory[1])),
        )
