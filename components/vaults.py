"""Reads fields of 1Password items by op:// reference, through the explicit provider, one `get_item` per item.

The provider has no function for op:// references, so the field is looked for here, as `op read` does: by label or id,
in any case. What it hands out is plain; `secrets.py` wraps it before anything else can see it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeVar

import pulumi
import pulumi_onepassword as onepassword

from settings_types import ItemReference, SecretReference

_UUID: Final = re.compile(r"[a-z0-9]{26}")
# The plugin's words, of its Connect client and of the `op` command (facts of terraform-provider-onepassword 2.2).
_NONE_FOUND: Final = re.compile(
    r"Found 0 item|isn't an item|No vault found|isn't a vault|(item|vault)\b.* not found", re.IGNORECASE
)
_SEVERAL_FOUND: Final = re.compile(
    r"Found \d+ item|More than one (item|vault) matches|Multiple vaults found", re.IGNORECASE
)
# Fields that the plugin hands out beside the sections, by the labels they have in 1Password.
_WELL_KNOWN: Final = {
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

_T = TypeVar("_T")


class SecretProblemError(Exception):
    """Why a reference gives no usable value: what it is about, what is wrong (never the value), and the fix."""

    def __init__(self, subject: str, what: str, fix: str) -> None:
        super().__init__(subject, what, fix)
        self.subject, self.what, self.fix = subject, what, fix


class FieldMissingError(SecretProblemError):
    """The item is there and has no such field."""


class ItemMissingError(SecretProblemError):
    """The vault is there and has no such item."""


@dataclass(frozen=True, kw_only=True)
class ItemPlace:
    """Where an item is, or is to be: UUIDs of the vault and, where it exists, of the item."""

    vault: str
    title: str
    item: str | None

    @property
    def import_id(self) -> str | None:
        """Id under which Pulumi imports the item, where it exists."""
        return f"vaults/{self.vault}/items/{self.item}" if self.item else None


class Vaults:
    """The vaults of one account; every vault and item is asked for once, failures included."""

    def __init__(self, provider: onepassword.Provider) -> None:
        self._options = pulumi.InvokeOptions(provider=provider)
        self._vault_uuid = cache(self._find_vault)
        self._item = cache(self._find_item)

    def read(self, reference: SecretReference) -> str:
        """The field's value as it is, perhaps empty; SecretProblemError where there is no one such field."""
        item = self._item(reference.of_item)
        if isinstance(item, SecretProblemError):
            raise item
        found = [value for section, names, value in _fields(item) if _matches(reference, section, names)]
        if not found and reference.section is None:
            name = _WELL_KNOWN.get(reference.field.casefold())
            found = [value for value in [getattr(item, name)] if value is not None] if name else []
        if not found:
            raise FieldMissingError(str(reference), _no_field(reference, item), _FIELD_FIX)
        if len(found) > 1:
            raise SecretProblemError(
                str(reference),
                f"the item has {len(found)} fields {reference.field!r}: {_places(reference, item)}",
                f"name the section, {reference.of_item}/<section>/{reference.field}, or rename all fields but one",
            )
        return found[0]

    def locate(self, reference: ItemReference) -> ItemPlace:
        """Where the item is, or is to be; SecretProblemError where the vault does not exist, or two items match."""
        vault, item = self._vault_uuid(reference.vault), self._item(reference)
        if isinstance(vault, SecretProblemError):
            raise vault
        by_title = not _UUID.fullmatch(reference.item)
        if isinstance(item, ItemMissingError) and by_title:
            return ItemPlace(vault=vault, title=reference.item, item=None)
        if isinstance(item, SecretProblemError):
            raise item
        return ItemPlace(vault=vault, title=reference.item if by_title else item.title, item=str(item.uuid))

    def _find_vault(self, name: str) -> str | SecretProblemError:
        key = "uuid" if _UUID.fullmatch(name) else "name"
        vault = _ask(lambda: onepassword.get_vault(**{key: name}, opts=self._options))
        if not isinstance(vault, str):
            return str(vault.uuid)
        subject = f"the vault {name!r}"
        return _failure(
            subject,
            vault,
            none=SecretProblemError(
                subject,
                "there is no such vault, or these credentials do not see it",
                "give the token access to the vault",
            ),
            several=("several vaults have this name", "write the vault's UUID instead of its name"),
        )

    def _find_item(self, reference: ItemReference) -> onepassword.GetItemResult | SecretProblemError:
        vault = self._vault_uuid(reference.vault)
        if isinstance(vault, SecretProblemError):
            return vault
        key = "uuid" if _UUID.fullmatch(reference.item) else "title"
        item = _ask(lambda: onepassword.get_item(vault=vault, **{key: reference.item}, opts=self._options))
        if not isinstance(item, str):
            return item
        return _failure(
            str(reference),
            item,
            none=ItemMissingError(
                str(reference),
                "the vault has no such item",
                "create the item, or correct the reference in the stack file",
            ),
            several=("several items have this title", "delete or rename all but one, or write the item's UUID"),
        )


_FIELD_FIX: Final = (
    "add the field, inside a section: the provider does not hand out fields of a person's own that are in no section"
)


def _ask(call: Callable[[], _T]) -> _T | str:
    """The answer, or the plugin's words where it refused."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  pulumi.runtime.invoke raises a bare Exception for every refusal
        return str(error)


def _failure(subject: str, words: str, *, none: SecretProblemError, several: tuple[str, str]) -> SecretProblemError:
    if _NONE_FOUND.search(words):
        return none
    if _SEVERAL_FOUND.search(words):
        return SecretProblemError(subject, *several)
    return SecretProblemError(
        subject,
        f"1Password could not be asked: {words}",
        "check that OP_CONNECT_HOST answers and that the token is valid and not expired",
    )


def _fields(item: onepassword.GetItemResult) -> Iterator[tuple[tuple[str, str], tuple[str, str], str]]:
    """(id and label of the section, id and label of the field, value) of every field in a section."""
    for section in item.sections or ():
        for field in section.fields or ():
            yield (section.id or "", section.label or ""), (field.id or "", field.label or ""), field.value or ""


def _matches(reference: SecretReference, section: tuple[str, str], names: tuple[str, str]) -> bool:
    in_section = reference.section is None or reference.section.casefold() in map(str.casefold, section)
    return in_section and reference.field.casefold() in map(str.casefold, names)


def _no_field(reference: SecretReference, item: onepassword.GetItemResult) -> str:
    if reference.section is not None and not any(
        reference.section.casefold() in map(str.casefold, section) for section, _, _ in _fields(item)
    ):
        return f"the item has no section {reference.section!r} with a field in it"
    labels = sorted({label or identity for _, (identity, label), _ in _fields(item)})
    return f"the item has no field {reference.field!r}; those in its sections are: {', '.join(labels) or 'none'}"


def _places(reference: SecretReference, item: onepassword.GetItemResult) -> str:
    sections = [section for section, names, _ in _fields(item) if _matches(reference, section, names)]
    return ", ".join(f"in section {label or identity!r}" for identity, label in sections)
