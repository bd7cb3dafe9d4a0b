"""The problems that `up` reports about a stack's volumes, read from a cluster as the look-up does."""

from __future__ import annotations

from typing import Any

from lookups.database_claims import find_claims
from lookups.moving import Record
from lookups.volumes import find_problems
from settings import Settings


def volume_problems(settings: Settings, cluster: Any, record: Record | None = None) -> list[str]:
    """Every problem; `record` is what the last `up` recorded."""
    return list(find_problems(settings, cluster, record, find_claims(settings, cluster, record)))
