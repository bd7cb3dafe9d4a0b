"""Amounts of CPU, memory and storage as Kubernetes writes them, in the range that a container or volume can have."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, ClassVar, Final, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from settings.errors import refusal

_NUMBER: Final = r"\d+\.?\d*|\.\d+"
_POWERS: Final = {"n": -3, "u": -2, "m": -1, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_BINARY_POWERS: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


class Quantity(str):
    """A positive Kubernetes quantity, kept as written and compared through `amount`."""

    __slots__ = ()

    # apimachinery pkg/api/resource: decimal number, then a binary suffix, a decimal suffix or an exponent.
    PATTERN: ClassVar[str] = rf"\+?({_NUMBER})(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?\d{{1,2}}))?"
    ALLOWED: ClassVar[str] = "a Kubernetes quantity above zero, for example 250m, 512Mi or 10Gi"
    EXAMPLES: ClassVar[tuple[str, ...]] = ("250m", "512Mi")

    @property
    def amount(self) -> Decimal:
        """The value in base units: cores, or bytes. Raises ValueError if the text is no quantity."""
        found = re.fullmatch(Quantity.PATTERN, self, re.ASCII)
        if found is None:
            raise ValueError(self.ALLOWED)
        number, binary, decimal, exponent = found.groups()
        if binary:
            return Decimal(number) * Decimal(1024) ** _BINARY_POWERS[binary]
        if decimal:
            return Decimal(number) * Decimal(1000) ** _POWERS[decimal]
        return Decimal(number).scaleb(int(exponent or 0))

    def usable(self) -> bool:
        """Whether a container or a volume can have this amount."""
        return bool(re.fullmatch(self.PATTERN, self, re.ASCII)) and self.amount > 0

    def meant(self) -> str:
        """What the user probably meant, or an empty text; `parse` only proposes it if it is usable."""
        return ""

    @classmethod
    def parse(cls, value: object) -> Self:
        """Reads the value in a stack file; YAML reads `cpu: 2` as a number, which Kubernetes accepts, too."""
        quantity = cls(value if isinstance(value, str | int | float) and not isinstance(value, bool) else "")
        if quantity.usable():
            return quantity
        meant = quantity.meant()
        proposed = bool(meant) and cls(meant).usable()
        raise refusal(cls.ALLOWED, fix=f"did you mean {meant}?" if proposed else None)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": ["string", "number"], "pattern": f"^({cls.PATTERN})$", "examples": list(cls.EXAMPLES)}


class Cpu(Quantity):
    """CPU in cores. The smallest unit in Kubernetes is a thousandth of a core."""

    __slots__ = ()

    PATTERN: ClassVar[str] = r"\+?\d+m|\+?(\d+\.?\d{0,3}|\.\d{1,3})"
    # No node has more; "500" is 500m without its unit, and a pod with 500 cores would wait for ever.
    _MOST: Final = 128
    ALLOWED: ClassVar[str] = (
        f"CPU in cores (2, 0.5) or thousandths of one (250m), from 1m to {_MOST} cores; Mi and Gi are for memory"
    )
    EXAMPLES: ClassVar[tuple[str, ...]] = ("250m", "2")

    def usable(self) -> bool:
        return super().usable() and self.amount <= self._MOST

    def meant(self) -> str:
        found = re.fullmatch(r"\s*(\d+)\s*([kKMGm]i?)?\s*", self, re.ASCII)
        return f"{found[1]}m" if found else ""


class _Bytes(Quantity):
    """A whole number of bytes."""

    __slots__ = ()

    PATTERN: ClassVar[str] = rf"\+?({_NUMBER})([KMGTPE]i|[kMGTPE]|[eE]\+?\d{{1,2}})?"
    _LEAST: ClassVar[str]
    _MOST: ClassVar[str]
    _UNIT: ClassVar[str]

    def usable(self) -> bool:
        return super().usable() and self._fits() and self.amount % 1 == 0

    def _fits(self) -> bool:
        return Quantity(self._LEAST).amount <= self.amount <= Quantity(self._MOST).amount

    def meant(self) -> str:
        # To Kubernetes, 512m is half a byte; 512, 512MB, 512mb and 512 Mi are other common mistakes.
        found = re.fullmatch(r"\s*(\d+\.?\d*)\s*([kmgt]?)(?:i?b|i)?\s*", self, re.ASCII | re.IGNORECASE)
        if found is None:
            return ""
        return f"{found[1]}{found[2].upper() + 'i' if found[2] else self._UNIT}"


class Memory(_Bytes):
    """Memory of a container, in bytes."""

    __slots__ = ()

    # Container runtimes refuse to start a container with less (CRI-O 12 MiB, Docker 6 MB).
    _LEAST: ClassVar[str] = "16Mi"
    _MOST: ClassVar[str] = "1Ti"
    _UNIT: ClassVar[str] = "Mi"
    ALLOWED: ClassVar[str] = f"memory in whole bytes with its unit (512Mi, 1Gi), from {_LEAST} to {_MOST}"
    EXAMPLES: ClassVar[tuple[str, ...]] = ("512Mi", "1Gi")


class Storage(_Bytes):
    """Size of a volume, in bytes."""

    __slots__ = ()

    # PostgreSQL's write-ahead log alone can grow to 1 GB (max_wal_size), and a dump is written beside the kept ones.
    _LEAST: ClassVar[str] = "1Gi"
    _MOST: ClassVar[str] = "100Ti"
    _UNIT: ClassVar[str] = "Gi"
    ALLOWED: ClassVar[str] = f"storage in whole bytes with its unit (10Gi), from {_LEAST} to {_MOST}"
    EXAMPLES: ClassVar[tuple[str, ...]] = ("10Gi", "1Ti")
