"""What the dashboard of tests/unit/dashboard.json shows."""

from __future__ import annotations

import datetime as dt
from typing import Final

from components.monitoring import Watched

WATCHED: Final = Watched(
    namespace="shop-test",
    claims=["data", "backups"],
    containers=("shop", "server"),
    stateful_set="shop-db",
    backup="shop-backup",
    drill="shop-drill",
    token_expires=dt.date(2027, 12, 31),
)
