"""`app`: the application's container."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from settings.images import ImageReference
from settings.section import Resources, Section
from settings.types import DnsName


class AppSettings(Section):
    """The application's container."""

    # Answers 200 where the app and its database are well.
    health_path: ClassVar[str] = "/api/health"
    image: ImageReference
    """Placeholder for the first `up`; from then on the app's pipeline owns the image."""
    resources: Resources = Resources.of(cpu=("250m", "2000m"), memory=("512Mi", "2Gi"))
    egress: Annotated[tuple[DnsName, ...], Field(strict=False)] = ()
    """Hosts on the internet that the app may call over HTTPS; the network policy denies every other."""
