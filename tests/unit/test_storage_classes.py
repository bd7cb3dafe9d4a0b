"""The class of a new claim, looked for before the first resource."""

from __future__ import annotations

from unittest import mock

import pulumi
import pytest

from lookups.cluster import ForbiddenError
from lookups.storage_classes import find_problems


def test_a_user_who_may_not_read_classes_is_told_for_which_of_them_the_plugin_needs_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    cluster = mock.Mock()
    cluster.get.side_effect = ForbiddenError("storageclasses is forbidden")
    assert list(find_problems(cluster, "database", "local-path")) == []
    (warning,) = said
    assert "whether the cluster has the storage class local-path. storageclasses is forbidden" in warning
    assert "WaitForFirstConsumer" in warning
