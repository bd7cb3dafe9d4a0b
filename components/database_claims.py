"""Which claims a stack's database has: one for each major version of PostgreSQL that it has had, or is to have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from settings.names import PROGRAM

MAJOR: Final = f"{PROGRAM}/postgres-major"
"""Annotation of a claim: the version that reads what is on it."""
UPGRADED_FROM: Final = f"ops.{PROGRAM}/upgraded-from"
"""Annotation of a claim: UID of the one whose data `ops upgrade` has moved there."""
FIRST_WITH_OWN_FOLDER: Final = 18
"""Since this version the image keeps its data in a folder of its own on the volume (docker-library/postgres#1259)."""


@dataclass(frozen=True, kw_only=True)
class DatabaseClaims:
    """By name."""

    current: str
    """The one that the server runs on."""
    next: str | None = None
    """The one that `ops upgrade` is to fill."""
    kept: Mapping[str, str | None] = field(default_factory=dict)
    """Those of earlier versions, which nobody has discarded yet, and the version of each, where that is known."""
