"""A 1Password item: its fields as the provider returns them, and the marks of the stack that wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_UUID: Final = re.compile(r"[a-z0-9]{26}")
_PURPOSES: Final = {"USERNAME": "username", "PASSWORD": "password", "NOTES": "note_value"}
WELL_KNOWN: Final = {
    "username": "username",
    "password": "password",
    "credential": "credential",
    "hostname": "hostname",
    "server": "hostname",
    "database": "database",
    "port": "port",
    "type": "type",
    "url": "url",
    "notesplain": "note_value",
    "notes": "note_value",
    "public key": "public_key",
    "private key": "private_key",
}
"""Fields that the plugin returns outside the sections: their labels in 1Password, and the plugin's names for them."""

LOGIN: Final = "LOGIN"
"""Category of the items to which a stack writes its tokens."""
SECTION: Final = "issued by pulumi"
"""Label of the section that marks an item to which a stack writes its own deploy token."""
TOKEN: Final = "deploy token"  # noqa: S105 - the field's label
"""Field of that section: name of the deploy token in GitLab."""
OWNER: Final = "stack"
"""Field of that section: the stack that wrote the item, as <project>/<stack>."""


def is_uuid(name: str) -> bool:
    """Whether 1Password would treat `name` as the UUID of a vault or an item."""
    return _UUID.fullmatch(name) is not None


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field in a section of an item; `section` and `names` are each an id and a label, one of which may be empty."""

    section: tuple[str, str]
    names: tuple[str, str]
    type: str = "CONCEALED"
    """1Password's type of field, such as STRING, CONCEALED or OTP."""
    value: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Item:
    """An item as the provider returns it."""

    uuid: str
    title: str
    category: str
    """In the case in which the plugin or 1Password's JSON has it."""
    fields: tuple[Field, ...]
    well_known: Mapping[str, str] = field(repr=False)
    """Values of the fields outside the sections, by their label in lower case."""


def mark(item: Item, label: str) -> str | None:
    """The value of the field with that label in the section of marks; None if the item has none."""
    found = [one.value for one in item.fields if one.section[1] == SECTION and one.names[1] == label]
    return found[0] if found else None


def stranger(item: Item, *, token: str, owner: str) -> str | None:
    """The owner of the item if it has the mark of another stack than `owner` with its deploy token `token`; else None.

    An item without a mark was created by hand. Releases before the mark OWNER wrote only TOKEN.
    """
    if wrote := mark(item, OWNER):
        return wrote if wrote != owner else None
    issued = mark(item, TOKEN)
    return f"the deploy token {issued}" if issued and issued != token else None


def unfit(item: Item) -> str | None:
    """Why a stack must not write its token to the item; None for a login that it, or a user, made for that."""
    if item.category.upper() != LOGIN:
        return f"the item is of the category {item.category.lower()}, and not a login"
    made_by_hand = mark(item, OWNER) is None and mark(item, TOKEN) is None
    secrets = [label or identity for identity, label in (one.names for one in item.fields if one.type == "CONCEALED")]
    if made_by_hand and secrets:
        return f"the item holds other secrets: {', '.join(map(repr, secrets))}"
    return None


def item_of(body: Mapping[str, Any]) -> Item:
    """An item as the plugin returns it, from the JSON that Connect and `op` share.

    Like the plugin, it drops fields outside the sections unless 1Password itself knows them.
    """
    labels = {section["id"]: section.get("label") or "" for section in body.get("sections") or ()}
    fields: list[Field] = []
    outside: dict[str, str] = {}
    for one in body.get("fields") or ():
        label, value = one.get("label") or "", one.get("value") or ""
        section = (one.get("section") or {}).get("id", "")
        if purpose := _PURPOSES.get(one.get("purpose", "")):
            outside[purpose] = value
        elif section in labels:
            names, kind = (one.get("id") or "", label), one.get("type") or ""
            fields.append(Field(section=(section, labels[section]), names=names, type=kind, value=value))
        elif output := WELL_KNOWN.get(label.casefold()):
            outside[output] = value
    return Item(
        uuid=body["id"],
        title=body["title"],
        category=body["category"],
        fields=tuple(fields),
        well_known={label: outside[output] for label, output in WELL_KNOWN.items() if output in outside},
    )
