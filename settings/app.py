"""`app`: the application's container."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator

from policies.shapes import SECRET_NAME, SHAPES
from settings.errors import refusal
from settings.images import ImageReference
from settings.references import SecretReference
from settings.section import Resources, Section
from settings.types import EachOnce, InternetName, UrlPath, VariableName

OWN_VARIABLES: Final = ("DATABASE_URL", "BETTER_AUTH_SECRET", "NODE_ENV", "ADDITIONAL_TRUSTED_ORIGINS")
"""Environment variables that the program sets itself."""
_MOVE: Final = "put the value into 1Password and name its reference in app.secrets"
_GO_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? [+-]\d{4} \w+")
_PORTS: Final = 1024, 65535
_USERS: Final = 1, 2**31 - 1  # runAsUser of the Kubernetes API: not negative, 32 bits


def _schema(ends: tuple[int, int]) -> WithJsonSchema:
    return WithJsonSchema({"type": "integer", "minimum": ends[0], "maximum": ends[1]})


def _check_port(port: int) -> int:
    if not _PORTS[0] <= port <= _PORTS[1]:
        raise ValueError(
            f"a port from {_PORTS[0]} to {_PORTS[1]}: only root may listen on lower ports, and no pod runs as root"
        )
    return port


def _check_user(user: int) -> int:
    if not _USERS[0] <= user <= _USERS[1]:
        raise ValueError(f"a user id from {_USERS[0]} to {_USERS[1]}: the pod-security level `restricted` forbids root")
    return user


def _check_name(name: str) -> str:
    if name in OWN_VARIABLES:
        raise refusal(
            f"variables other than {', '.join(OWN_VARIABLES)}: the program sets these itself", fix="remove it"
        )
    return name


def _check_value(value: str) -> str:
    if "\0" in value:
        raise ValueError("text without NUL, which no environment variable can hold")
    if any(shape.search(value) for shape in SHAPES.values()):
        raise refusal("no secret, but this looks like one", given="(not shown)", fix=_MOVE)
    if _GO_TIME.fullmatch(value):
        raise refusal("a text, in quotes if it looks like a date: Pulumi passes an unquoted one as a time")
    if "op://" in value.lower():
        raise refusal("the value itself: references are not resolved here", fix=_MOVE)
    return value


def _check_public(name: str) -> str:
    if SECRET_NAME.search(name):
        raise refusal(
            "variables whose names do not suggest a secret: their values are visible in the cluster", fix=_MOVE
        )
    return name


def _check_command(command: tuple[str, ...]) -> tuple[str, ...]:
    if not command or not command[0].strip() or any("\0" in word for word in command):
        raise ValueError('a list of words that begins with the program, for example ["bunx", "prisma", "migrate"]')
    return command


_Variable = Annotated[VariableName, AfterValidator(_check_name)]
_PublicVariable = Annotated[_Variable, AfterValidator(_check_public)]


class MigrationSettings(Section):
    """The Jobs that migrate the database to the next image's schema; they run in that image."""

    command: Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_check_command)] = (
        "bunx",
        "prisma",
        "migrate",
        "deploy",
    )
    """Program and arguments. Every deployment runs it, so it must do nothing if no migration is pending."""


class AppSettings(Section):
    """The application's container."""

    image: ImageReference
    """Placeholder for the first `up`; from then on the app's pipeline owns the image."""
    port: Annotated[int, AfterValidator(_check_port), _schema(_PORTS)] = 3000
    """Port on which the image listens (HTTP)."""
    health_path: UrlPath = "/api/health"
    """Path that answers 200, without a login, if the app and its database work."""
    user: Annotated[int, AfterValidator(_check_user), _schema(_USERS)] = 1001
    """User and group id for which the image is built."""
    resources: Resources = Resources.of(cpu=("250m", "2000m"), memory=("512Mi", "2Gi"))
    egress: Annotated[tuple[InternetName, ...], Field(strict=False), EachOnce] = ()
    """Hosts on the internet that the app may call over HTTPS; the network policy denies all others."""
    environment: dict[_PublicVariable, Annotated[str, AfterValidator(_check_value)]] = Field(default={})
    """Environment variables of the app, by name; they arrive as they are written, also with `$(...)` in them.

    Not for secrets: they are visible in the cluster and in previews.
    """
    secrets: dict[_Variable, SecretReference] = Field(default={})
    """Environment variables of the app whose values are in 1Password: an op:// reference for each variable name."""
    migration: MigrationSettings = MigrationSettings()

    @field_validator("environment")
    @classmethod
    def _listens_where_it_is_asked(cls, environment: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        port = info.data.get("port")
        if port is not None and environment.get("PORT") not in {None, str(port)}:
            raise refusal(
                f"{port}, the value of app.port, which probes, Service and tunnel use",
                key="PORT",
                given=repr(environment["PORT"]),
                fix="set app.port, and remove PORT",
            )
        return environment

    @field_validator("secrets")
    @classmethod
    def _stand_once(cls, secrets: dict[str, SecretReference], info: ValidationInfo) -> dict[str, SecretReference]:
        if twice := sorted(secrets.keys() & info.data.get("environment", {}).keys()):
            raise refusal(
                "variables that app.environment does not have", given=", ".join(twice), fix="remove one of the two"
            )
        return secrets
