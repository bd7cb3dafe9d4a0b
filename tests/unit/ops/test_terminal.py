"""Output is printed as it is, and a reader that is gone does not stop a command."""

from __future__ import annotations

import errno
import sys

import pytest

from ops.terminal import Terminal


class Gone:
    """Standard output to a closed terminal, or to a pipe whose reader has exited."""

    encoding = "utf-8"

    def __init__(self, number: int) -> None:
        self._number = number

    def write(self, _text: str) -> int:
        raise OSError(self._number, "gone")

    def flush(self) -> None:
        raise OSError(self._number, "gone")

    def isatty(self) -> bool:
        return self._number == errno.EIO


@pytest.mark.parametrize("line", ['connection to server at "fd00::a:b:1" failed', "[red] is no markup"])
def test_a_line_of_a_log_is_printed_as_it_is(capsys: pytest.CaptureFixture[str], line: str) -> None:
    Terminal().say(line)
    assert capsys.readouterr().out == f"{line}\n"


@pytest.mark.parametrize("number", [errno.EIO, errno.EPIPE], ids=["a closed terminal", "a pipe that nobody reads"])
def test_a_step_completes_even_if_nobody_reads_its_output(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    monkeypatch.setattr(sys, "stdout", Gone(number))
    terminal, done = Terminal(), []
    with terminal.step("ending the Job"):
        terminal.say("a line of its log")
        done.append("ended")
    with terminal.step("starting the app", size=3) as advance:
        advance(3)
        done.append("started")
    assert done == ["ended", "started"]
