"""The shapes of 1Password Connect's REST API, as our own models.

Source: docs/openapi/spec.yaml of github.com/1Password/connect at bad1808c (version 1.7.1 of the API), with the names of
its schemas. The models refuse a key that a schema does not know: nobody may rely on one.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Uuid = Annotated[str, Field(pattern=r"^[\da-z]{26}$")]

Category = Literal[
    "LOGIN",
    "PASSWORD",
    "API_CREDENTIAL",
    "SERVER",
    "DATABASE",
    "CREDIT_CARD",
    "MEMBERSHIP",
    "PASSPORT",
    "SOFTWARE_LICENSE",
    "OUTDOOR_LICENSE",
    "SECURE_NOTE",
    "WIRELESS_ROUTER",
    "BANK_ACCOUNT",
    "DRIVER_LICENSE",
    "IDENTITY",
    "REWARD_PROGRAM",
    "DOCUMENT",
    "EMAIL_ACCOUNT",
    "SOCIAL_SECURITY_NUMBER",
    "MEDICAL_RECORD",
    "SSH_KEY",
    "CUSTOM",
]


class Shape(BaseModel):
    """A schema of the document."""

    model_config = ConfigDict(extra="forbid")


class ErrorResponse(Shape):
    """The body of every refusal."""

    status: int
    message: str


class Vault(Shape):
    """A vault."""

    id: Uuid
    name: str
    description: str | None = None
    attributeVersion: int  # noqa: N815 - the document's names, here and below
    contentVersion: int  # noqa: N815
    items: int
    type: Literal["USER_CREATED", "PERSONAL", "EVERYONE", "TRANSFER"]
    createdAt: dt.datetime  # noqa: N815
    updatedAt: dt.datetime  # noqa: N815


class Reference(Shape):
    """The vault of an item."""

    id: Uuid


class Url(Shape):
    """An address of an item."""

    href: str
    label: str | None = None
    primary: bool | None = None


class Item(Shape):
    """An item without its content, as the list of a vault's items has it."""

    id: Uuid
    title: str
    vault: Reference
    category: Category
    urls: list[Url] | None = None
    favorite: bool | None = None
    tags: list[str] | None = None
    version: int
    state: Literal["ARCHIVED", "DELETED"] | None = None
    createdAt: dt.datetime  # noqa: N815
    updatedAt: dt.datetime  # noqa: N815
    lastEditedBy: str | None = None  # noqa: N815


class ItemSection(Shape):
    """A section of an item."""

    id: str
    label: str | None = None


class InSection(Shape):
    """A field's section. The document has only the id; connect-sdk-go, and so the plugin, sends a label."""

    id: str
    label: str | None = None


class ItemField(Shape):
    """A field in an answer; the document requires id and type."""

    id: str
    type: Literal["STRING", "EMAIL", "CONCEALED", "URL", "TOTP", "DATE", "MONTH_YEAR", "MENU"]
    section: InSection | None = None
    purpose: Literal["", "USERNAME", "PASSWORD", "NOTES"] | None = None
    label: str | None = None
    value: str | None = None
    entropy: float | None = None


class FullItem(Item):
    """An item with its sections and fields."""

    sections: list[ItemSection] | None = None
    fields: list[ItemField] | None = None


class SentField(ItemField):
    """A field in a request."""

    generate: bool | None = None


class SentItem(Shape):
    """The body of POST and PUT; the document requires vault and category. Read-only keys may come back unchanged."""

    id: Uuid | Literal[""] | None = None
    title: str
    vault: Reference
    category: Category
    urls: list[Url] | None = None
    favorite: bool | None = None
    tags: list[str] | None = None
    version: int | None = None
    sections: list[ItemSection] | None = None
    fields: list[SentField]
    createdAt: dt.datetime | None = None  # noqa: N815
    updatedAt: dt.datetime | None = None  # noqa: N815
