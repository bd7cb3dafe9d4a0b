"""`ops backup`, as far as it does not need a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from ops import backup
from ops.backup import NearlyFullError, back_up
from ops.screen import Screen


def taken(monkeypatch: pytest.MonkeyPatch, log: list[str]) -> None:
    """Runs `back_up` with a Job that succeeds and says this."""

    def create(_cluster: Any, _cron_job: Any, *, say: Callable[[str], None]) -> mock.Mock:
        return mock.Mock(follow=lambda **_: any(map(say, log)))

    monkeypatch.setattr(backup, "create", create)
    back_up(mock.Mock(), Screen(), stack="dev")


def test_a_good_backup_on_a_nearly_full_volume_is_told_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    complete = "2026-02-05T03:00:01Z backup invoicetron-000001-20260205T030000Z is complete"
    told = "2026-02-05T03:00:02Z NEARLY FULL: the backup is good, but its volume is 81 % full"
    taken(monkeypatch, [complete])
    with pytest.raises(NearlyFullError, match=r"^the backup is good, but its volume is 81 % full$"):
        taken(monkeypatch, [complete, told, "one more line"])
