"""`app`: the application's container."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from pydantic import Field, field_validator

from settings.errors import refusal
from settings.images import ImageReference
from settings.section import Resources, Section
from settings.types import DnsName, VariableName

OWN_VARIABLES: Final = ("DATABASE_URL", "BETTER_AUTH_SECRET", "NODE_ENV", "ADDITIONAL_TRUSTED_ORIGINS")
"""Environment variables that the program sets by itself."""


class AppSettings(Section):
    """The application's container."""

    # Answers 200 where the app and its database are well.
    health_path: ClassVar[str] = "/api/health"
    image: ImageReference
    """Placeholder for the first `up`; from then on the app's pipeline owns the image."""
    resources: Resources = Resources.of(cpu=("250m", "2000m"), memory=("512Mi", "2Gi"))
    egress: Annotated[tuple[DnsName, ...], Field(strict=False)] = ()
    """Hosts on the internet that the app may call over HTTPS; the network policy denies every other."""
    environment: dict[VariableName, str] = Field(default={})
    """Environment variables of the app, by name. No secret: they show in the cluster and in previews."""

    @field_validator("environment")
    @classmethod
    def _sets_none_of_the_programs(cls, environment: dict[str, str]) -> dict[str, str]:
        if taken := [name for name in environment if name in OWN_VARIABLES]:
            raise refusal(
                f"variables other than {', '.join(OWN_VARIABLES)}: the program sets these itself",
                key=taken[0],
                given="a variable that the program sets",
                fix="remove it",
            )
        return environment
