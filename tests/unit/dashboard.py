"""What the dashboard of tests/unit/dashboard.json shows."""

from __future__ import annotations

import datetime as dt
from typing import Final

from components.alerts import Watched
from settings.names import Names

WATCHED: Final = Watched(
    names=Names("shop", "test"),
    claims=["data", "backups"],
    health_urls=["https://shop.example.org/health"],
    backup="shop-backup",
    drill="shop-drill",
    database_metrics=True,
    statements=True,
    wal_archive=True,
    token_expires=dt.date(2027, 12, 31),
)
