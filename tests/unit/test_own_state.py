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

PROVIDER = "urn:pulumi:dev::invoicetron::pulumi:providers:kubernetes::kubernetes"


def check(
    monkeypatch: pytest.MonkeyPatch,
    metadata: Mapping[str, Any] | None,
    *known: str,
    preview: bool = False,
    identifier: str | None = None,
) -> list[str]:
    """Checks with this namespace in the cluster, and these URNs and a provider in the state; returns the warnings."""
    warned: list[str] = []
    outputs = {"context": "admin@homelab"} | ({"clusterIdentifier": identifier} if identifier else {})
    provider = {"type": "pulumi:providers:kubernetes", "outputs": outputs}
    answer = Mock(value={"outputs": {**{urn: {} for urn in known}, PROVIDER: provider}})
    monkeypatch.setattr(pulumi.runtime, "invoke", lambda *_: answer)
    monkeypatch.setattr(pulumi.runtime, "is_dry_run", lambda: preview)
    monkeypatch.setattr(pulumi.log, "warn", warned.append)
    cluster = Mock()
    cluster.get.return_value = None if metadata is None else {"metadata": metadata}
    check_own_state(Settings.load(DEV, sections("dev")), cluster, outputs={"url": "https://..."} if known else {})
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


@pytest.mark.parametrize("preview", [False, True])
def test_another_cluster_identifier_than_the_state_s_is_refused_before_everything_is_replaced(
    monkeypatch: pytest.MonkeyPatch, preview: bool
) -> None:
    for metadata in (OWN, None):  # on the same cluster, and on another one, or after a loss
        with pytest.raises(StateError, match="Set it to attic"):
            check(monkeypatch, metadata, URN, preview=preview, identifier="attic")
    for state in ((URN,), ()):
        assert check(monkeypatch, None, *state, preview=preview, identifier="homelab") == []
    for state in ((), (URN.replace("core/v1:Namespace", "core/v1:Secret"),)):
        assert check(monkeypatch, None, *state, preview=preview, identifier="attic") == [], "nothing to replace"


def test_the_state_of_a_new_stack_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Mock()
    monkeypatch.setattr(pulumi.runtime, "invoke", asked)
    check_own_state(Settings.load(DEV, sections("dev")), Mock(get=Mock(return_value=None)), outputs={})
    assert not asked.called
