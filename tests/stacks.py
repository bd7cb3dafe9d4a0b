"""Stack files of the tests' own: an edit of a live one fails no test."""

from __future__ import annotations

from pathlib import Path
from typing import Final

STACKS: Final = Path(__file__).parent / "unit" / "stacks"
