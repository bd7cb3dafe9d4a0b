"""Reads fields of 1Password items by op:// reference, one look-up per item.

The provider has no function for op:// references, so this module finds the field itself, as `op read` does: by label or
id, ignoring case. The values are plain text; `secrets.py` wraps them before anything else can see them. `ops` reads by
the same rules without an engine, through its own `Account`.
"""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol
from urllib.parse import unquote

import pulumi
import pulumi_onepassword as onepassword

from lookups.onepassword_client import client
from lookups.onepassword_item import WELL_KNOWN, Field, Item, is_uuid, stranger, unfit
from settings.references import ItemReference, SecretReference

# The plugin's messages, from its Connect client and the `op` command (terraform-provider-onepassword 2.2).
_NONE_FOUND: Final = re.compile(
    r"Found 0 item|isn't an item|No vault found|isn't a vault|(item|vault)\b.* not found", re.IGNORECASE
)
_SEVERAL_FOUND: Final = re.compile(
    r"Found \d+ item|More than one (item|vault) matches|Multiple vaults found", re.IGNORECASE
)
_TOO_MANY: Final = re.compile(r"too many requests|rate.?limit", re.IGNORECASE)
_NOT_A_FIELD: Final = "url"
"""Well-known, too: the address of the login page. It is no field in 1Password, so a field in a section comes first."""

_NOT_TEXT: Final = {
    "OTP": "a one-time password: its value is the key of the codes",
    "DATE": "a date",
    "MONTH_YEAR": "a date",
    "FILE": "a file",
    "REFERENCE": "a link to another item",
}
"""Field types whose value is no text that could be a secret, and what it is instead."""

_SIMILAR: Final = 0.9  # difflib's ratio: one letter in ten may differ; two stacks' items must not be mixed up


class SecretProblemError(Exception):
    """Why a reference yields no usable value: the subject, what is wrong (never the value), and the fix."""

    def __init__(self, subject: str, what: str, fix: str) -> None:
        super().__init__(subject, what, fix)
        self.subject, self.what, self.fix = subject, what, fix


class FieldMissingError(SecretProblemError):
    """The item exists but has no such field."""


class ItemMissingError(SecretProblemError):
    """The vault exists but has no such item."""


@dataclass(frozen=True, kw_only=True)
class ItemPlace:
    """Where an item is, or is to be: UUID of the vault, and title."""

    vault: str
    title: str
    item: str | None
    """UUID of the item if the stack file names the item by UUID; otherwise None, and the title decides."""


class Account(Protocol):
    """Looks up vaults and items by UUID or name. A refusal is an exception with the plugin's message."""

    def vault(self, name: str) -> str:
        """UUID of the vault."""

    def item(self, vault: str, name: str) -> Item:
        """The item in the vault of that UUID."""

    def titles(self, vault: str) -> list[str]:
        """Titles of all items in the vault of that UUID."""


class PluginAccount:
    """1Password, read through the plugin of the explicit provider."""

    def __init__(self, provider: onepassword.Provider) -> None:
        self._options = pulumi.InvokeOptions(provider=provider)

    def vault(self, name: str) -> str:
        key = "uuid" if is_uuid(name) else "name"
        return str(onepassword.get_vault(**{key: name}, opts=self._options).uuid)

    def item(self, vault: str, name: str) -> Item:
        key = "uuid" if is_uuid(name) else "title"
        found = onepassword.get_item(vault=vault, **{key: name}, opts=self._options)
        return Item(
            uuid=str(found.uuid),
            title=found.title,
            category=found.category,
            fields=tuple(
                Field(
                    section=(section.id or "", section.label or ""),
                    names=(one.id or "", one.label or ""),
                    type=one.type or "",
                    value=one.value or "",
                )
                for section in found.sections or ()
                for one in section.fields or ()
            ),
            well_known={
                label: value for label, name in WELL_KNOWN.items() if (value := getattr(found, name)) is not None
            },
        )

    def titles(self, vault: str) -> list[str]:
        # The plugin has no function that lists items.
        return client(os.environ).titles(vault)


class Vaults:
    """The vaults of one account; looks up every vault and item only once, even if that fails."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._vault_uuid = cache(self._find_vault)
        self._item = cache(self._find_item)
        self._titles = cache(self._account.titles)

    def read(self, reference: SecretReference) -> str:
        """The field's value as it is, perhaps empty; SecretProblemError unless there is exactly one such field.

        A reference without a section means the field outside the sections if the item has a non-empty one.
        """
        item = self._item(reference.of_item)
        if isinstance(item, ItemMissingError):
            raise self._with_near_title(reference.of_item, item)
        if isinstance(item, SecretProblemError):
            raise item
        label = _folded(reference.field)
        outside = None if reference.section else item.well_known.get(label)
        if outside and label != _NOT_A_FIELD:
            return outside
        found = _matching(reference, item)
        if len(found) > 1:
            raise SecretProblemError(
                str(reference),
                f"the item has {len(found)} fields {reference.field!r}: {_places(found)}",
                f"{_choices(reference, item, found)}rename all fields but one",
            )
        if not found:
            if outside is None:
                raise FieldMissingError(str(reference), _no_field(reference, item), _missing_fix(reference, item))
            return outside
        if kind := _NOT_TEXT.get(found[0].type):
            raise SecretProblemError(
                str(reference), f"the field holds {kind}", "name a field of the type password or text"
            )
        return found[0].value

    def uuid(self, reference: ItemReference) -> str | None:
        """UUID of the item; None if it does not exist or cannot be read."""
        item = self._item(reference)
        return item.uuid if isinstance(item, Item) else None

    def locate(self, reference: ItemReference, *, token: str, owner: str, setting: str = "registry.item") -> ItemPlace:
        """The place of the item, existing or not, to which the stack `owner` writes its token named `token`.

        SecretProblemError if the vault does not exist, two items match, or the item belongs to another stack or holds
        anything but a login.
        """
        vault, item = self._vault_uuid(reference.vault), self._item(reference)
        if isinstance(vault, SecretProblemError):
            raise vault
        by_title = not is_uuid(reference.item)
        if isinstance(item, ItemMissingError) and by_title:
            return ItemPlace(vault=vault, title=reference.item, item=None)
        if isinstance(item, SecretProblemError):
            raise item
        if another := stranger(item, token=token, owner=owner):
            raise SecretProblemError(
                str(reference),
                f"the item is another stack's: it has the mark of {another}, and this stack is {owner}",
                f"name another item in {setting}, or delete this one if that stack no longer exists",
            )
        if why := unfit(item):
            raise SecretProblemError(
                str(reference),
                f"{why}; `up` would write a token to it",
                f"name a new title in {setting}, and `up` creates the item",
            )
        if by_title:
            return ItemPlace(vault=vault, title=reference.item, item=None)
        return ItemPlace(vault=vault, title=item.title, item=item.uuid)

    def _with_near_title(self, reference: ItemReference, missing: ItemMissingError) -> ItemMissingError:
        """The problem with the title that was probably meant; unchanged if the items cannot be listed."""
        vault = self._vault_uuid(reference.vault)
        try:
            titles = self._titles(vault) if isinstance(vault, str) else []
        except Exception:  # noqa: BLE001  a hint is no reason for another error
            return missing
        near = _nearest(reference.item, titles)
        if near is None:
            return missing
        exact = "titles differ by case, and are written as they are, without %20"
        return ItemMissingError(
            missing.subject, f"{missing.what}; it has {near!r}", f"write op://{reference.vault}/{near}: {exact}"
        )

    def _find_vault(self, name: str) -> str | SecretProblemError:
        try:
            return self._account.vault(name)
        except Exception as error:  # noqa: BLE001  pulumi.runtime.invoke raises a bare Exception for every refusal
            words = str(error)
        subject = f"the vault {name!r}"
        return _failure(
            subject,
            words,
            none=SecretProblemError(
                subject,
                "there is no such vault, or these credentials do not see it",
                "give the token access to the vault, or correct its name in the stack file if it was renamed",
            ),
            several=("several vaults have this name", "write the vault's UUID instead of its name"),
        )

    def _find_item(self, reference: ItemReference) -> Item | SecretProblemError:
        vault = self._vault_uuid(reference.vault)
        if isinstance(vault, SecretProblemError):
            return vault
        try:
            return self._account.item(vault, reference.item)
        except Exception as error:  # noqa: BLE001  as above
            words = str(error)
        return _failure(
            str(reference),
            words,
            none=ItemMissingError(
                str(reference),
                "the vault has no such item",
                "create the item, or correct the reference in the stack file",
            ),
            several=("several items have this title", "delete or rename all but one, or write the item's UUID"),
        )


_FIELD_FIX: Final = "add the field, inside a section: the provider drops custom fields that are in no section"


def _failure(subject: str, words: str, *, none: SecretProblemError, several: tuple[str, str]) -> SecretProblemError:
    if _NONE_FOUND.search(words):
        return none
    if _SEVERAL_FOUND.search(words):
        return SecretProblemError(subject, *several)
    fix = "check that OP_CONNECT_HOST answers, and that the token is valid, has not expired and may read the vault"
    if _TOO_MANY.search(words):
        # https://developer.1password.com/docs/service-accounts/rate-limits
        fix = (
            "wait as long as `op service-account ratelimit` says: 1Password limits a service account's requests in an "
            "hour, and those of all service accounts together in a day; a Connect server has no such limit"
        )
    return SecretProblemError(subject, f"1Password could not be queried: {words}", fix)


def _folded(text: str) -> str:
    """Labels that look the same are the same: case and the encoding of accents do not matter (Unicode NFC)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _visible(text: str) -> str:
    """The text with plain spaces and without invisible characters, to find what was meant."""
    text = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isprintable, text)).strip()


def _nearest(wanted: str, titles: list[str]) -> str | None:
    """The title that was probably meant: the same except for case, spaces and percent-encoding, or with a typo."""
    by_form = {_visible(unquote(title)): title for title in titles}
    near = difflib.get_close_matches(_visible(unquote(wanted)), by_form, n=1, cutoff=_SIMILAR)
    return by_form[near[0]] if near else None


def _matching(reference: SecretReference, item: Item) -> list[Field]:
    return [one for one in item.fields if _in_section(reference, one) and _named(reference.field, one.names)]


def _in_section(reference: SecretReference, one: Field) -> bool:
    return reference.section is None or _named(reference.section, one.section)


def _named(name: str, names: tuple[str, str]) -> bool:
    return _folded(name) in map(_folded, names)


def _no_field(reference: SecretReference, item: Item) -> str:
    inside = [one for one in item.fields if _in_section(reference, one)]
    if not inside and reference.section is not None:
        sections = sorted({label or identity for identity, label in (one.section for one in item.fields)})
        return (
            f"the item has no section {reference.section!r} with a field in it; its sections are: {_listed(sections)}"
        )
    labels = sorted({label or identity for identity, label in (one.names for one in inside)})
    return f"the item has no field {reference.field!r}; those in its sections are: {_listed(labels)}"


def _listed(labels: list[str]) -> str:
    """The labels; one with an invisible character, such as a no-break space, is quoted."""
    return ", ".join(label if label.isprintable() else repr(label) for label in labels) or "none"


def _missing_fix(reference: SecretReference, item: Item) -> str:
    wanted = [reference.section or "", reference.field]
    for one in item.fields:
        names = [one.section[1] if reference.section else "", one.names[1]]
        if list(map(_visible, names)) == list(map(_visible, wanted)):
            return "type the label in 1Password again: it differs in a space or in a character that cannot be seen"
    return _FIELD_FIX


def _places(found: list[Field]) -> str:
    """Where the fields are: by the section's label, or by ids if labels are ambiguous."""
    sections = [label or identity for identity, label in (one.section for one in found)]
    if len(set(map(_folded, sections))) == len(sections):
        return ", ".join(f"in section {section!r}" for section in sections)
    return ", ".join(
        f"in section {section!r} (id {one.section[0]}) the field of id {one.names[0]}"
        for one, section in zip(found, sections, strict=True)
    )


def _choices(reference: SecretReference, item: Item, found: list[Field]) -> str:
    """References to each of the fields, as the beginning of a fix."""
    chosen = [next(_unambiguous(reference, item, one), None) for one in found]
    references = [str(each) for each in chosen if each]
    return f"write {' or '.join(references)}, or " if references else ""


def _unambiguous(reference: SecretReference, item: Item, one: Field) -> Iterator[SecretReference]:
    """References to this field only, first by labels, then by ids if labels are ambiguous."""
    for name in filter(None, reversed(one.names)):
        for section in filter(None, reversed(one.section)):
            try:
                chosen = SecretReference.parse(f"{reference.of_item}/{section}/{name}")
            except ValueError:  # a label with a character that no reference can contain
                continue
            if _matching(chosen, item) == [one]:
                yield chosen
