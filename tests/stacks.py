"""Stack files of the tests' own: an edit of a live one fails no test."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from settings.names import Names

STACKS: Final = Path(__file__).parent / "unit" / "stacks"
PROJECT: Final = "invoicetron"
"""Of those stack files."""
DEV: Final = Names(PROJECT, "dev")
PROD: Final = Names(PROJECT, "prod")
