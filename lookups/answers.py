"""Answers of servers, in which a proxy's page may replace the JSON."""

from __future__ import annotations

import json
from typing import Any


def json_object(body: bytes | None) -> dict[str, Any] | None:
    """The JSON object in the body of an answer; None for anything else."""
    try:
        found = json.loads(body or b"")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
