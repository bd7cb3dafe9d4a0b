"""The claims of a stack's database: one for each major version of PostgreSQL that it has had, or is to have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from settings.names import PROGRAM

MAJOR: Final = f"{PROGRAM}/postgres-major"
"""Annotation on a claim: the version that can read its data."""
UPGRADED_FROM: Final = f"ops.{PROGRAM}/upgraded-from"
"""Annotation on a claim: UID of the claim whose data `ops upgrade` has moved there."""
FIRST_WITH_OWN_FOLDER: Final = 18
"""Since this version, the image keeps its data in its own folder on the volume (docker-library/postgres#1259)."""


@dataclass(frozen=True, kw_only=True)
class DatabaseClaims:
    """The names of the claims."""

    current: str
    """The claim that the server runs on."""
    next: str | None = None
    """The claim that `ops upgrade` is to fill."""
    kept: Mapping[str, str | None] = field(default_factory=dict)
    """Claims of earlier versions that nobody has discarded yet, each with its version if that is known."""
