"""A stack with `database.engine: cloudnative-pg`, and what the operator has created for it."""

from __future__ import annotations

import base64
import subprocess
import time
from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any, Self

import pytest
from kubernetes.client.exceptions import ApiException

from rehearsal.engine import EngineError
from rehearsal.lifecycle import use_cloudnative_pg
from rehearsal.rehearsal import Rehearsal

CLUSTER = "invoicetron-db"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """One stack of one rehearsal."""

    rehearsal: Rehearsal
    name: str

    @classmethod
    def configured(cls, rehearsal: Rehearsal, name: str, **database: str) -> Self:
        """A new stack with this engine, and `database.<key>` as given."""
        stack = cls(rehearsal=rehearsal, name=name)
        rehearsal.program.init(name)
        use_cloudnative_pg(rehearsal, name)
        for key, value in database.items():
            stack.set(key, value)
        return stack

    @property
    def namespace(self) -> str:
        return f"invoicetron-{self.name}"

    def set(self, key: str, value: str) -> None:
        """Sets `database.<key>`."""
        self.rehearsal.configure(self.name, f"database.{key}", value)

    def unset(self, key: str) -> None:
        self.rehearsal.program.run("config", "rm", "--stack", self.name, "--path", f"invoicetron:database.{key}")

    def get(self, *arguments: str) -> dict[str, Any]:
        return self.rehearsal.get(*arguments, namespace=self.namespace)

    def cluster(self) -> dict[str, Any]:
        return self.get("cluster", CLUSTER)

    def secret(self, name: str) -> dict[str, str]:
        data = self.get("secret", name)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def _instances(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("pods", "-l", f"cnpg.io/cluster={CLUSTER},cnpg.io/podRole=instance")[
            "items"
        ]
        return [one for one in found if "deletionTimestamp" not in one["metadata"]]

    def pods(self) -> dict[str, str]:
        """UID of each instance's pod, by name."""
        return {one["metadata"]["name"]: one["metadata"]["uid"] for one in self._instances()}

    def images(self) -> Set[str]:
        """The images that the instances run."""
        return {container["image"] for one in self._instances() for container in one["spec"]["containers"]}

    def volumes(self) -> list[dict[str, Any]]:
        """The PersistentVolumes of the Cluster's claims."""
        claims = self.get("pvc", "-l", f"cnpg.io/cluster={CLUSTER}")["items"]
        return [self.get("pv", one["spec"]["volumeName"]) for one in claims if one["spec"].get("volumeName")]

    def kubectl_says(self, *arguments: str) -> str:
        """What kubectl prints, its warnings included."""
        command = [str(self.rehearsal.tools.kubectl), *arguments]
        environment = dict(self.rehearsal.program.environment)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
        return done.stdout + done.stderr


def refused(stack: Stack) -> str:
    """The message with which `up` refuses, before it makes anything."""
    with pytest.raises(EngineError, match="Nothing was created or changed") as error:
        stack.rehearsal.program.up(stack.name, "--skip-preview")
    return str(error.value)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Returns once the condition holds; fails after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def answer(api: Any, body: dict[str, Any]) -> str:
    """Why the API server refuses the object; empty if it would accept it."""
    try:
        api.create(body=body, namespace="default", query_params=[("dryRun", "All")])
    except ApiException as error:
        return str(error.body)
    return ""
