"""The question before a command that replaces or deletes something: what Ctrl-C and a missing terminal do."""

from __future__ import annotations

import signal
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner, Result

from ops import commands as module
from ops.commands import app

QUESTIONS = [
    ("restore", ["--from", "invoicetron-000012-20260205T030000Z"], "Restore"),
    ("move-database", ["--to", "cloudnative-pg"], "Move"),
    ("move-database", ["--discard"], "Discarding"),
    ("upgrade", ["--to", "18"], "Upgrade"),
    ("upgrade", ["--discard"], "Discard"),
    ("revoke-superuser", [], "Revocation"),
]


pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture(params=QUESTIONS, ids=lambda one: " ".join([one[0], *one[1][:1]]))
def asking(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], mock.Mock]:
    """Command line of a command that asks, and the `run` that a yes leads to."""
    command, given, looked_at = request.param
    task = mock.Mock(announcement="What will happen.", is_done=False)
    monkeypatch.setattr(module, "_cluster", mock.Mock())
    monkeypatch.setattr(module, looked_at, mock.Mock(look=mock.Mock(return_value=task)))
    return [command, "--stack", "dev", *given], task.run


def ask(command: list[str], given: str) -> Result:
    return CliRunner().invoke(app, command, input=given)


def test_ctrl_c_at_the_question_ends_the_command(
    asking: tuple[list[str], mock.Mock], monkeypatch: pytest.MonkeyPatch
) -> None:
    command, run = asking

    def prompt(*_: Any, **__: Any) -> bool:
        signal.raise_signal(signal.SIGINT)
        return True

    monkeypatch.setattr("typer.confirm", prompt)
    assert ask(command, "").exit_code
    assert not run.mock_calls


def test_without_an_answer_nothing_happens_and_the_option_is_named(asking: tuple[list[str], mock.Mock]) -> None:
    command, run = asking
    done = ask(command, "")
    assert done.exit_code == 1
    assert "--yes" in done.output
    assert not run.mock_calls


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("n\n", False)])
def test_an_answer_may_come_from_a_pipe(asking: tuple[list[str], mock.Mock], answer: str, agreed: bool) -> None:
    command, run = asking
    done = ask(command, answer)
    assert bool(run.mock_calls) == agreed
    assert bool(done.exit_code) != agreed
    assert "--yes" not in done.output
