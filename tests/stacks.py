"""The tests' own stack files: an edit of a live one makes no test fail."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from settings.names import Names

STACKS: Final = Path(__file__).parent / "unit" / "stacks"
PROJECT: Final = "invoicetron"
"""The project of those stack files."""
DEV: Final = Names(PROJECT, "dev")
PROD: Final = Names(PROJECT, "prod")
