"""What the progress lines say a command waits for, and how long it takes."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from rich.console import Console

from rehearsal import progress
from rehearsal.progress import spoken, step

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], io.StringIO]:
    def on(terminal: bool) -> io.StringIO:
        text = io.StringIO()
        monkeypatch.setattr(progress, "CONSOLE", Console(file=text, force_terminal=terminal, width=100))
        return text

    return on


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stops the clock that steps read; it shows as many seconds as it was last set to."""

    def set_to(seconds: float) -> None:
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: seconds))

    set_to(0)
    return set_to


def test_in_a_log_a_step_has_a_line_at_its_start_and_one_at_its_end(shown: Callable[[bool], io.StringIO]) -> None:
    text = shown(False)
    with step("building etcd", usually="1 min"):
        pass
    begun, ended = text.getvalue().splitlines()
    assert begun == "· building etcd (usually 1 min)"
    assert re.fullmatch(r"✓ building etcd \d+\.\d s", ended)


def test_on_a_terminal_the_line_counts(shown: Callable[[bool], io.StringIO], clock: Callable[[float], None]) -> None:
    text = shown(True)
    with step("building etcd", usually="1 min"):
        clock(7)
        deadline = time.monotonic() + 30
        while "building etcd 7 s" not in _CONTROL.sub("", text.getvalue()) and time.monotonic() < deadline:
            time.sleep(0.05)
    said = _CONTROL.sub("", text.getvalue())
    assert "· building etcd 7 s (usually 1 min)" in said
    assert said.rstrip().endswith("✓ building etcd 7.0 s")


@pytest.mark.usefixtures("clock")
def test_a_step_that_fails_says_so(shown: Callable[[bool], io.StringIO]) -> None:
    text = shown(False)
    with pytest.raises(ValueError, match="no"), step("building etcd", usually="1 min"):
        raise ValueError("no")
    assert text.getvalue().splitlines()[1] == "✗ building etcd stopped after 0.0 s"


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (119, "119 s"), (134, "2 min"), (140, "2.5 min")])
def test_durations_are_as_exact_as_people_need_them(seconds: float, words: str) -> None:
    assert spoken(seconds) == words
