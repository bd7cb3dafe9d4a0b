"""GitLab's rules for masked CI variables, checked before the call: GitLab's own error only says `is invalid`."""

from __future__ import annotations

import re
from typing import Final

# GitLab's Ci::Maskable, for raw and for expanded variables.
_RAW: Final = re.compile(r"\S{8,}")
_EXPANDED: Final = re.compile(r"[a-zA-Z0-9_+=/@:.~-]{8,}")
_LONGEST: Final = 10_000  # characters; GitLab's limit for any CI variable


class MaskingError(ValueError):
    """GitLab cannot mask the value; the message names the variable, never the value."""


def check_maskable(key: str, value: str, *, raw: bool) -> str:
    """Returns the value if GitLab can mask it; raises MaskingError otherwise."""
    if "\n" in value or "\r" in value:
        problem = "it has more than one line"
    elif len(value) < 8:
        problem = f"it has {len(value)} characters, and at least 8 are needed"
    elif len(value) > _LONGEST:
        problem = f"it has {len(value)} characters, and at most {_LONGEST} are allowed"
    elif not (_RAW if raw else _EXPANDED).fullmatch(value):
        problem = "it has a space" if raw else "it has a character other than letters, digits and _ + = / @ : . ~ -"
    else:
        return value
    raise MaskingError(
        f"GitLab cannot mask the CI variable {key}: {problem}. Without a mask it would show in job logs."
    )
