"""Runs the real `pulumi` command line on a program, and reads what the engine did from its event log.

Not the automation API: its `up` always skips the preview, and people type the command line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

UNCHANGED = frozenset({"same", "read", "refresh", "discard"})
"""Operations that leave a resource as it is."""


class EngineError(Exception):
    """A `pulumi` command failed; the message is the command's whole output."""


@dataclass(frozen=True, kw_only=True)
class Update:
    """What one preview, up, refresh or destroy did."""

    output: str
    steps: tuple[tuple[str, str], ...]
    """Operation and URN of every finished step, in order."""
    events: tuple[Mapping[str, Any], ...] = ()
    """The engine's event log, `apitype.EngineEvent` of pulumi/sdk."""

    @property
    def changes(self) -> dict[str, str]:
        """Name of every changed resource, and the operation that changed it."""
        return {urn.rsplit("::", 1)[-1]: op for op, urn in self.steps if op not in UNCHANGED}

    @property
    def counts(self) -> Counter[str]:
        """How many resources each operation touched."""
        return Counter(op for op, _ in self.steps)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A Pulumi program in `directory`, run by `pulumi` with exactly `environment`."""

    pulumi: Path
    directory: Path
    environment: Mapping[str, str]
    policies: Path | None = None
    """The policy pack that checks every preview."""

    def run(self, *arguments: str, timeout: float = 900, stdin: str | None = None) -> str:
        """Output of `pulumi <arguments>`, standard error included; raises `EngineError` when it fails.

        `timeout` in seconds: the ten minutes that the Kubernetes provider waits, and what comes before and after.
        """
        done = subprocess.run(
            [str(self.pulumi), *arguments, "--non-interactive", "--color", "never"],
            cwd=self.directory,
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            input=stdin or "",
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise EngineError(f"pulumi {' '.join(arguments)} exited with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def with_environment(self, more: Mapping[str, str]) -> Program:
        """The same program with more variables in its environment."""
        return replace(self, environment={**self.environment, **more})

    def init(self, stack: str) -> None:
        """Creates the stack in the backend; writes its encryption salt into `Pulumi.<stack>.yaml`."""
        self.run("stack", "init", stack)

    def preview(self, stack: str, *options: str) -> Update:
        """`pulumi preview`, checked by the policy pack; raises `EngineError` if the pack refuses."""
        pack = ["--policy-pack", str(self.policies)] if self.policies else []
        return self._update("preview", stack, *pack, *options)

    def up(self, stack: str, *options: str) -> Update:
        """`pulumi up --yes`, its preview included."""
        return self._update("up", stack, "--yes", *options)

    def refresh(self, stack: str, *options: str) -> Update:
        """`pulumi refresh --yes`."""
        return self._update("refresh", stack, "--yes", *options)

    def destroy(self, stack: str, *options: str) -> Update:
        """`pulumi destroy --yes`."""
        return self._update("destroy", stack, "--yes", *options)

    def outputs(self, stack: str) -> dict[str, Any]:
        """The stack's outputs; secret ones are not shown."""
        text = subprocess.run(
            [str(self.pulumi), "stack", "output", "--json", "--stack", stack, "--non-interactive"],
            cwd=self.directory,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        outputs: dict[str, Any] = json.loads(text)
        return outputs

    def export(self, stack: str) -> dict[str, Any]:
        """The stack's checkpoint, as `pulumi stack export` gives it: secrets encrypted."""
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "export.json"
            self.run("stack", "export", "--stack", stack, "--file", str(file))
            checkpoint: dict[str, Any] = json.loads(file.read_text())
        return checkpoint

    def up_killed(self, stack: str, *, at: int) -> bool:
        """Starts an `up` and kills the engine (SIGKILL) as it begins to change its `at`-th resource, counted from 0.

        Returns False if the update ended before that.
        """
        with tempfile.TemporaryDirectory() as directory:
            log = Path(directory) / "events.jsonl"
            command = ["up", "--yes", "--skip-preview", "--stack", stack, "--event-log", str(log), "--non-interactive"]
            with subprocess.Popen(
                [str(self.pulumi), *command],
                cwd=self.directory,
                env=self._with_event_log,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as engine:
                begun = 0
                for event in _follow(log, engine):
                    metadata = event.get("resourcePreEvent", {}).get("metadata")
                    if metadata is None or metadata["op"] in UNCHANGED or metadata["type"] == "pulumi:pulumi:Stack":
                        continue
                    if begun == at:
                        engine.send_signal(signal.SIGKILL)
                        return True
                    begun += 1
        return False

    @property
    def _with_event_log(self) -> dict[str, str]:
        # `--event-log` is among the flags that the command line hides behind this variable.
        return {**self.environment, "PULUMI_DEBUG_COMMANDS": "true"}

    def _update(self, command: str, stack: str, *options: str) -> Update:
        handle, name = tempfile.mkstemp(prefix="events-", suffix=".jsonl")
        os.close(handle)
        log = Path(name)
        program = replace(self, environment=self._with_event_log)
        try:
            output = program.run(command, "--stack", stack, "--event-log", str(log), *options)
            events = [json.loads(line) for line in log.read_text().splitlines()]
        finally:
            log.unlink()
        finished = [event["resOutputsEvent"]["metadata"] for event in events if "resOutputsEvent" in event]
        return Update(output=output, steps=tuple((step["op"], step["urn"]) for step in finished), events=tuple(events))


def _follow(log: Path, engine: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """The events of a log that is still being written, until the engine ends."""
    while not log.exists():
        if engine.poll() is not None:
            return
        time.sleep(0.01)
    with log.open() as file:
        line = ""
        while True:
            ended = engine.poll() is not None
            line += file.readline()
            if line.endswith("\n"):
                yield json.loads(line)
                line = ""
            elif ended:
                return
            else:
                time.sleep(0.005)
