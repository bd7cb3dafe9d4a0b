"""What the Python language host decides: which Python runs the program, and how a program is stopped."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rehearsal.engine import EngineError, Program
from rehearsal.engine.plugin_path import HOST
from rehearsal.rehearsal import Rehearsal
from tests.pids import lives

FAILS_WHILE_IT_RUNS = """
import asyncio
import pulumi
import pulumi_kubernetes as kubernetes

on_cluster = pulumi.ResourceOptions(provider=kubernetes.Provider("kubernetes"))
kubernetes.core.v1.ConfigMap("refused", metadata={"name": "Not A Name", "namespace": "default"}, opts=on_cluster)
pulumi.export("later", pulumi.Output.from_input(asyncio.sleep(60)))
"""


@pytest.fixture
def attentive() -> Iterator[None]:
    """Ctrl-C works as at a terminal; a command that a shell runs in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def small_program(rehearsal: Rehearsal, tmp_path: Path, source: str) -> Program:
    """A program with this source and an empty stack dev."""
    directory = tmp_path / "small"
    directory.mkdir()
    (directory / "Pulumi.yaml").write_text("name: small\nruntime: {name: python, options: {virtualenv: .venv}}\n")
    (directory / ".venv").symlink_to(sys.prefix)
    (directory / "__main__.py").write_text(source)
    program = replace(rehearsal.program, directory=directory, policies=None)
    program.init("dev")
    return program


def processes(*words: str) -> list[int]:
    """The processes whose command line contains all of the words."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().decode(errors="replace")
        except OSError:
            continue  # it ended as we looked
        if all(word in command for word in words):
            found.append(int(file.parent.name))
    return found


def program_of(rehearsal: Rehearsal) -> int:
    """The process of the program, once it has made the namespace."""
    deadline = time.monotonic() + 120
    while not rehearsal.kubectl("get", "namespace", "invoicetron-dev", "--ignore-not-found"):
        assert time.monotonic() < deadline, "the program made no namespace"
        time.sleep(0.1)
    (pid,) = [
        pid
        for words in (["run_program.py"], ["pulumi-language-python-exec"])
        for pid in processes(*words)
        if (Path("/proc") / str(pid) / "cwd").resolve() == rehearsal.program.directory.resolve()
    ]
    return pid


def test_the_program_runs_in_the_environment_that_pulumi_yaml_names(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    environment = rehearsal.program.directory / ".venv"
    assert environment.resolve() == Path(sys.prefix).resolve()
    rehearsal.program.preview("dev")
    without_policies = replace(rehearsal.program, policies=None)
    environment.unlink()
    if "stand-in" in rehearsal.kinds[HOST]:  # the real one does the same, but upgrades pip from the network first
        with pytest.raises(EngineError, match="ModuleNotFoundError"):
            without_policies.preview("dev")
        assert (environment / "pyvenv.cfg").exists()
        shutil.rmtree(environment)
    environment.mkdir()
    (environment / "something").touch()
    with pytest.raises(EngineError, match=r"/\.venv/bin/python -m pip list --format json`: fork/exec"):
        without_policies.preview("dev")


@pytest.mark.parametrize(
    ("raised", "said", "more"),
    [
        ("pulumi.RunError('no such setting')", "no such setting", True),
        ("ValueError('no such setting')", "ValueError: no such setting", False),
    ],
)
def test_only_after_a_run_error_the_engine_adds_that_the_program_ended_with_an_error(
    rehearsal: Rehearsal, tmp_path: Path, raised: str, said: str, more: bool
) -> None:
    program = small_program(rehearsal, tmp_path, f"import pulumi\nraise {raised}\n")
    with pytest.raises(EngineError) as failed:
        program.preview("dev")
    assert said in str(failed.value)
    added = "an unhandled error occurred: program exited with non-zero exit code: 1"
    assert (added in str(failed.value)) == more


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the program in /proc, which only Linux has")
@pytest.mark.usefixtures("attentive")
def test_an_interrupted_program_leaves_the_last_word_to_the_engine(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    said: list[str] = []

    def up() -> None:
        try:
            said.append(rehearsal.program.up("dev", "--skip-preview").output)
        except EngineError as error:
            said.append(str(error))

    thread = threading.Thread(target=up)
    thread.start()
    os.kill(program_of(rehearsal), signal.SIGINT)
    thread.join()
    assert not re.search("Traceback|KeyboardInterrupt|Error:", said[0]), said[0]


@pytest.mark.usefixtures("attentive")
def test_a_program_is_interrupted_once_its_update_has_failed(rehearsal: Rehearsal, tmp_path: Path) -> None:
    program = small_program(rehearsal, tmp_path, FAILS_WHILE_IT_RUNS)
    began = time.monotonic()
    with pytest.raises(EngineError, match="KeyboardInterrupt") as failed:
        program.up("dev", "--skip-preview")
    assert "Not A Name" in str(failed.value)
    assert time.monotonic() - began < 30


def test_host_plugins_and_program_end_after_the_engine_was_killed(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    with subprocess.Popen(
        [str(rehearsal.program.pulumi), "up", "--yes", "--skip-preview", "--stack", "dev", "--non-interactive"],
        cwd=rehearsal.program.directory,
        env=dict(rehearsal.program.environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as engine:
        program = program_of(rehearsal)
        engine.kill()
    deadline = time.monotonic() + 60
    where = str(rehearsal.program.directory.parent / "bin")
    left = {program, *processes(where)}
    while any(lives(pid) for pid in left):
        assert time.monotonic() < deadline, f"{left} live on"
        time.sleep(0.1)
