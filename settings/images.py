"""Container images as a stack file names them."""

from __future__ import annotations

import re
from typing import Annotated, Final

from settings.types import PORT, Form

# github.com/distribution/reference: registry host with a dot, a port or "localhost"; lower-case path; tag or digest.
_PATH_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
ImageReference = Annotated[
    str,
    Form(
        rf"(?:(?:[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::{PORT})?|[a-z0-9-]+:{PORT})/)?{_PATH_PART}(?:/{_PATH_PART})*"
        r"(?:(?::(?!latest(?:@|$))\w[\w.-]{0,127})(?:@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})",
        "an image with a tag other than 'latest', or a sha256 digest: what runs must not depend on when it was pulled",
        "postgres:18-alpine",
    ),
]

# The official image is library/postgres on Docker Hub, or its copy for one architecture; elsewhere it is a mirror.
_OFFICIAL: Final = r"(?:(?:index\.)?docker\.io/)?(?:(?:library|amd64|arm64v8|arm32v[567]|i386|ppc64le|riscv64|s390x)/)?"
MAJORS: Final = (17, 18)
"""Major versions of PostgreSQL that volume, backups and restores support, and that the tests run."""

_SUPPORTED: Final = " or ".join(map(str, MAJORS))
PostgresImage = Annotated[
    ImageReference,
    Form(
        rf"(?:{_OFFICIAL}|(?!(?:index\.)?docker\.io/)(?:[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::{PORT})?|[a-z0-9-]+:{PORT})/"
        rf"(?:{_PATH_PART}/)*)postgres:(?:{_SUPPORTED.replace(' or ', '|')})"
        r"(?:\.\d+)?(?:-\w[\w.-]*)?(?:@sha256:[0-9a-f]{64})?",
        f"the official image of PostgreSQL {_SUPPORTED} or a mirror of it, with the version in its tag: volume, "
        "backups and restores support these; `python -m ops upgrade` moves the data to a later one",
        "postgres:18-alpine",
    ),
]
"""An image of a major version that volume, backups and restores support."""


def postgres_major(image: str) -> int:
    """The major version with which the tag of a `PostgresImage` or an `OperandImage` begins.

    Raises `ValueError` if the tag names none.
    """
    if (found := re.match(r"\d+", _tag(image), re.ASCII)) is None:
        raise ValueError(f"{image} says no major version")
    return int(found[0])


OperandImage = Annotated[
    ImageReference,
    Form(
        rf"(?:[a-z0-9-]+(?:\.[a-z0-9-]+)+(?::{PORT})?|[a-z0-9-]+:{PORT})/(?:{_PATH_PART}/)*"
        rf"postgresql:(?:{_SUPPORTED.replace(' or ', '|')})\.\d+(?:-\w[\w.-]*)?(?:@sha256:[0-9a-f]{{64}})?",
        f"CloudNativePG's image of PostgreSQL {_SUPPORTED} or a mirror of it, with registry, path and a tag that says "
        "the minor version: the operator reads it there, and replaces the instances one by one when it changes",
        "ghcr.io/cloudnative-pg/postgresql:18.6-minimal-trixie",
    ),
]
"""An image that CloudNativePG's instances can run; they cannot run the official image of PostgreSQL."""


_DEBIAN: Final = ("bullseye", "bookworm", "trixie", "forky", "duke")
_USUAL_DEBIAN: Final = "trixie"
"""The base of PostgreSQL 18's official images whose tag names no Debian release (docker-library/postgres)."""


def c_library(image: str) -> str:
    """The C library by whose rules PostgreSQL in an official image, or a copy of one, sorts text.

    Indexes keep that order. With another library or release, queries miss existing rows and unique indexes admit
    duplicates (https://wiki.postgresql.org/wiki/Locale_data_changes). musl has the same order in every release.
    """
    if "alpine" in _tag(image):
        return "musl (alpine)"
    return f"glibc (Debian {debian_release(image) or _USUAL_DEBIAN})"


def debian_release(image: str) -> str | None:
    """The release of Debian that an image's tag names; None if it names none."""
    return next((one for one in _DEBIAN if one in _tag(image).split("-")), None)


def _tag(image: str) -> str:
    return image.partition("@")[0].rpartition(":")[2]


def image_registry(image: str) -> str:
    """The registry host (and port) of an image reference; if it names none, Docker Hub, as for every runtime."""
    first, slash, _ = image.partition("/")
    return first if slash and ("." in first or ":" in first) else "docker.io"


def image_repository(image: str) -> str:
    """An image reference without its tag and digest."""
    name = image.partition("@")[0]
    path, colon, tag = name.rpartition(":")
    return path if colon and "/" not in tag else name
