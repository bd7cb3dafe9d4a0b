"""The stack's own state is read while the engine writes it."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest

from lookups import own_outputs
from lookups.own_outputs import read_own_state

EOF = Exception("invoke of pulumi:pulumi:readStackOutputs failed: ... failed to load checkpoint: EOF")


def read(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> mock.Mock:
    asked = mock.Mock(side_effect=[one if isinstance(one, Exception) else mock.Mock(value=one) for one in answers])
    monkeypatch.setattr("pulumi.runtime.invoke", asked)
    monkeypatch.setattr(own_outputs, "_AGAIN", 0.0)
    return asked


def test_a_state_that_is_being_written_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = read(monkeypatch, EOF, EOF, {"outputs": {"url": "here"}})
    assert read_own_state("readStackOutputs", name="a/b/c") == {"url": "here"}
    assert asked.mock_calls == 3 * [mock.call("pulumi:pulumi:readStackOutputs", {"name": "a/b/c"})]


def test_a_state_that_stays_unreadable_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = read(monkeypatch, *100 * [EOF])
    with pytest.raises(Exception, match="failed to load checkpoint: EOF"):
        read_own_state("readStackOutputs", name="a/b/c")
    assert asked.call_count < 100


def test_any_other_failure_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = read(monkeypatch, Exception("passphrase must be set"), {"outputs": {}})
    with pytest.raises(Exception, match="passphrase must be set"):
        read_own_state("readStackOutputs", name="a/b/c")
    asked.assert_called_once()
