"""A state that does not know the stack's namespace takes nothing over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest.mock import Mock

import pulumi
import pytest

from lookups.own_state import StateError, check_own_state
from settings import Settings
from tests.stacks import DEV, PROD
from tests.unit.stack_files import sections

URN = "urn:pulumi:dev::invoicetron::invoicetron:environment:Environment$kubernetes:core/v1:Namespace::namespace"


def check(
    monkeypatch: pytest.MonkeyPatch, metadata: Mapping[str, Any] | None, *known: str, preview: bool = False
) -> list[str]:
    """Checks with this namespace in the cluster and these URNs in the state; returns the warnings."""
    warned: list[str] = []
    answer = Mock(value={"outputs": {urn: {} for urn in known}})
    monkeypatch.setattr(pulumi.runtime, "invoke", lambda *_: answer)
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: preview)
    monkeypatch.setattr(pulumi.log, "warn", warned.append)
    cluster = Mock()
    cluster.get.return_value = None if metadata is None else {"metadata": metadata}
    check_own_state(Settings.load(DEV, sections("dev")), cluster)
    return warned


OWN = {"labels": DEV.owner_labels}


def test_a_namespace_that_the_state_does_not_know_is_refused_and_a_preview_warns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(StateError, match="ops recover --stack dev"):
        check(monkeypatch, OWN)
    with pytest.raises(StateError, match="has none of it"):
        check(monkeypatch, OWN, URN.replace("core/v1:Namespace", "core/v1:Secret"))
    (warning,) = check(monkeypatch, OWN, preview=True)
    assert "`up` will refuse" in warning


@pytest.mark.parametrize(
    ("metadata", "known"),
    [
        (None, ()),
        ({}, ()),
        ({"labels": PROD.owner_labels}, ()),
        ({**OWN, "deletionTimestamp": "2026-11-01T00:00:00Z"}, ()),
        (OWN, (URN,)),
    ],
)
def test_a_new_foreign_terminating_or_known_namespace_is_no_problem(
    monkeypatch: pytest.MonkeyPatch, metadata: Mapping[str, Any] | None, known: tuple[str, ...]
) -> None:
    assert check(monkeypatch, metadata, *known) == []
