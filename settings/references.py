"""op:// references: the address of a 1Password item, or of one of its fields."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from settings.errors import TOKEN_BEGINNING

# One part of an op:// address. '/', '?' and '#' mean something there; a title with one of them is written as its UUID.
# No title begins like a token, and a reference is shown in many places.
_PART: Final = (
    rf"(?!{TOKEN_BEGINNING})"
    r"[^/\s?#\x00-\x1f\x7f](?:[^/?#\x00-\x1f\x7f]*[^/\s?#\x00-\x1f\x7f])?"
)
# A Connect server is asked for a vault or an item by `title eq "<title>"`, which has no way to write a double quote.
_TITLE: Final = rf'(?![^/]*"){_PART}'
_BY_UUID: Final = 'a vault or item with one of / ? # " in its name by its UUID'


class _Address:
    """How the two op:// addresses are read from a stack file and described to an editor."""

    PATTERN: ClassVar[str]
    ALLOWED: ClassVar[str]

    @classmethod
    def _from_parts(cls, parts: list[str]) -> Self:
        raise NotImplementedError

    @classmethod
    def parse(cls, value: object) -> Self:
        """Reads the address; raises ValueError if it is none. The message never repeats the value: it may be a
        password."""
        if isinstance(value, cls):
            return value
        if not isinstance(value, str) or not re.fullmatch(cls.PATTERN, value):
            raise PydanticCustomError("address", "{allowed}", {"allowed": cls.ALLOWED})
        return cls._from_parts(value.removeprefix("op://").split("/"))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "pattern": f"^(?:{cls.PATTERN})$", "description": cls.ALLOWED}


@dataclass(frozen=True)
class ItemReference(_Address):
    """Address of a 1Password item: op://vault/item, each a title or a UUID."""

    vault: str
    item: str

    PATTERN: ClassVar[str] = rf"op://{_TITLE}/{_TITLE}"
    ALLOWED: ClassVar[str] = f"op://vault/item, {_BY_UUID}"

    @classmethod
    def _from_parts(cls, parts: list[str]) -> Self:
        return cls(*parts)

    def field(self, name: str) -> SecretReference:
        """The reference to one field of this item, in any section."""
        return SecretReference(self.vault, self.item, None, name)

    def __str__(self) -> str:
        return f"op://{self.vault}/{self.item}"


@dataclass(frozen=True)
class SecretReference(_Address):
    """Address of one secret: op://vault/item/field or op://vault/item/section/field; vault and item by name or UUID."""

    vault: str
    item: str
    section: str | None
    field: str

    PATTERN: ClassVar[str] = rf"op://{_TITLE}/{_TITLE}(?:/{_PART})?/{_PART}"
    ALLOWED: ClassVar[str] = (
        f"op://vault/item/field or op://vault/item/section/field, never the secret itself; {_BY_UUID}"
    )

    @classmethod
    def _from_parts(cls, parts: list[str]) -> Self:
        return cls(parts[0], parts[1], parts[2] if len(parts) == 4 else None, parts[-1])

    @property
    def of_item(self) -> ItemReference:
        """The item that holds the secret."""
        return ItemReference(self.vault, self.item)

    def __str__(self) -> str:
        return "/".join(["op:/", self.vault, self.item, *filter(None, [self.section]), self.field])
