"""By what an object is known as this program's where no state tells it."""

from __future__ import annotations

from typing import Final

DNS_COMMENT: Final = "managed by pulumi: invoicetron"
"""Comment of the stack's DNS record."""
