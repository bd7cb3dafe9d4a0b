"""`database`: PostgreSQL and its volume."""

from __future__ import annotations

from typing import Literal

from settings.images import PostgresImage
from settings.quantities import Storage
from settings.section import Resources, Section
from settings.types import ResourceName, Uuid


class DatabaseSettings(Section):
    """PostgreSQL and its volume."""

    image: PostgresImage = "postgres:18-alpine"
    storage_class: ResourceName = "longhorn"
    size: Storage = Storage("10Gi")
    """Of the volume. Kubernetes lets it grow, never shrink."""
    lost_claim: Uuid | Literal["unknown"] | None = None
    """UID of a claim that is gone and given up: an empty database may take its place. `up` says which, and when."""
    resources: Resources = Resources.of(cpu=("100m", "500m"), memory=("256Mi", "1Gi"))
