"""What `make preview` and `make rehearse` show users."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rehearsal import __main__ as command_line
from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.engine import EngineError
from rehearsal.lifecycle import Lifecycle
from rehearsal.rehearsal import STACKS, Rehearsal, start_rehearsal
from rehearsal.toolchain import Tools
from rehearsal.vendors.server import Fault


@pytest.fixture
def run(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line, on the test's own rehearsal, its output in a pipe."""
    monkeypatch.setattr(command_line, "rehearsal", lambda *_, **__: nullcontext(rehearsal))
    return lambda *arguments: CliRunner().invoke(command_line.app, arguments)


def test_a_preview_is_a_tree_of_names_and_operations_with_the_counts(run: Callable[..., Result]) -> None:
    shown = run("preview").stdout
    assert re.search(r"^\+ create invoicetron-dev pulumi:pulumi:Stack$", shown, re.MULTILINE)
    assert re.search(r"^├── \+ create database invoicetron:database:Database$", shown, re.MULTILINE)
    assert re.search(r"^│   └── \+ create .* kubernetes:", shown, re.MULTILINE)
    tree = re.findall(r"\+ create ", shown)
    assert f"    + {len(tree)} to create" in shown
    assert "✅ invoicetron@v1.0.0" in shown
    assert "$PATH" not in shown
    assert len(shown.splitlines()) < 100


def test_a_preview_with_diff_shows_every_property(run: Callable[..., Result]) -> None:
    shown = run("preview", "--diff").stdout
    assert re.search(r"image +: +\"registry", shown)
    assert len(shown.splitlines()) > 500
    assert "$PATH" not in shown, "the engine warns about the rehearsal's plugins"


def test_a_failing_preview_says_why_and_exits_with_an_error(rehearsal: Rehearsal, run: Callable[..., Result]) -> None:
    rehearsal.gitlab.app.fail(Fault(status=401, body=b'{"message": "401 Unauthorized"}'), times=100)
    done = run("preview")
    assert done.exit_code == 1
    assert "error: GITLAB_TOKEN lacks permissions that this needs" in done.stdout
    assert "GitLab refuses GITLAB_TOKEN at http://127.0.0.1:" in done.stdout
    assert "(401), so it has expired or was revoked" in done.stdout
    assert "$PATH" not in done.stdout


def test_a_step_that_fails_shows_what_matters_and_where_the_rest_is(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = "a line of progress\n" * 50 + "Diagnostics:\n  shop:\n    error: no room left\n    Make some.\n"

    def fails(_: Lifecycle) -> str:
        raise EngineError(output)

    monkeypatch.setattr(Lifecycle, "up_from_nothing", fails)
    done = run("rehearse")
    assert done.exit_code == 1
    assert "failed up from nothing: no room left\n    Make some.\n" in done.stderr
    assert "a line of progress" not in done.stderr
    log = Path(re.findall(r"Full output: (\S+)", done.stderr)[0])
    assert log.read_text() == output
    log.unlink()
    assert re.search(r"total, with start-up and end .* failed .* \d+\.\d", done.stderr)


def test_a_preview_is_the_same_without_controllers_and_nodes(
    rehearsal: Rehearsal, tools: Tools, tmp_path: Path
) -> None:
    with (
        ControlPlane(tools, tmp_path / "api-server-alone", controllers=False) as plane,
        start_rehearsal(tools, plane, tmp_path / "less") as less,
    ):
        for stack in STACKS:
            seen = []
            for one in (rehearsal, less):
                one.program.init(stack)
                seen.append(sorted(one.program.preview(stack).steps))
            assert seen[0] == seen[1]
            assert len(seen[0]) > 40
