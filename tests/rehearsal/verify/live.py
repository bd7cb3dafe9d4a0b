"""The whole system of the stack prod, and what `ops verify` sees of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Final

import httpx

from ops.clients import load_settings
from ops.verify import verify
from ops.verify.check import Result
from rehearsal.homelab import ZONE
from rehearsal.pipeline import AppRepository
from rehearsal.rehearsal import Rehearsal
from rehearsal.vendors.edge import Edge, Gateway
from rehearsal.vendors.gitlab import Project

STACK: Final = "prod"
NAMESPACE: Final = "invoicetron-prod"
SCOPE: Final = "production"
HOST: Final = f"invoicetron.{ZONE}"
REGISTRY: Final = "registry.k8s.rommelporras.com/0xwsh/invoicetron"
ADDED_SECRET: Final = "API_KEY"
"""A variable of `app.secrets`, and the field of the app's item that holds it."""
ADDED_FIELD: Final = "api-key"

_PATIENCE: Final = 60.0  # seconds; controllers take their time on a busy machine


class Live:
    """Everything that the checks look at; `transport` leads to the stand-ins for the Gateway and Cloudflare's edge."""

    def __init__(self, rehearsal: Rehearsal, gateway: Gateway, edge: Edge, transport: httpx.BaseTransport) -> None:
        self.rehearsal, self.gateway, self.edge, self._transport = rehearsal, gateway, edge, transport

    @property
    def project(self) -> Project:
        return self.rehearsal.gitlab.project

    def verify(self, stack: str = STACK) -> list[Result]:
        return verify(load_settings(stack), transport=self._transport)

    def failing(self) -> dict[str, str]:
        """Each failed check, and what was seen. No check ever shows a secret, or leaves the reader without advice."""
        results = self.verify()
        self.assert_no_secret("\n".join(f"{one.seen} {one.fix}" for one in results))
        failed = [one for one in results if not one.ok]
        assert all(one.fix for one in failed)
        return {one.check: one.seen for one in failed}

    def expect(self, expected: Mapping[str, str]) -> None:
        """Waits until exactly these checks fail with these words, of which " ... " separates parts.

        Raises:
            AssertionError: They did not, until the patience ran out.
        """
        deadline = time.monotonic() + _PATIENCE
        while (seen := self.failing()).keys() != expected.keys() or not all(
            part in seen[check] for check, words in expected.items() for part in words.split(" ... ")
        ):
            assert time.monotonic() < deadline, f"expected {expected}, saw {seen}"
            time.sleep(0.5)  # each round runs every check, and the controllers need the processor

    def assert_no_secret(self, text: str) -> None:
        for secret in self.rehearsal.onepassword.handed_out | self.rehearsal.gitlab.handed_out:
            assert secret not in text

    def deploy(self, app: AppRepository) -> None:
        """Deploys with the app's pipeline; pushes the image in place of its build job, as no docker runs here."""
        commit = app.commit()
        self.project.registry.push(f"{REGISTRY}/{STACK}:{commit}")
        path = str(self.rehearsal.tools.kubectl.parent)
        deployed = app.run("deploy:production", self.project, runner={"PATH": path})
        assert deployed.passed, deployed.output

    def get(self, kind: str, name: str, namespace: str = NAMESPACE) -> Any:
        return self.rehearsal.get(kind, name, namespace=namespace)

    def patch(self, kind: str, name: str, patch: Any, *options: str, namespace: str = NAMESPACE) -> None:
        self.rehearsal.kubectl("-n", namespace, "patch", kind, name, *options, "--patch", json.dumps(patch))

    def run(self, cron_job: str, name: str, **spec: Any) -> None:
        """A Job made from a CronJob, as `kubectl create job --from` makes it, with these parts of its spec instead."""
        made = ["create", "job", name, f"--from=cronjob/{cron_job}", "--dry-run=client", "--output=json"]
        body = json.loads(self.rehearsal.kubectl("-n", NAMESPACE, *made))
        body["spec"] |= spec
        self.rehearsal.kubectl("-n", NAMESPACE, "create", "--filename=-", stdin=json.dumps(body))

    def ended(self, job: str, condition: str) -> None:
        self.rehearsal.kubectl("-n", NAMESPACE, "wait", f"job/{job}", f"--for=condition={condition}", "--timeout=120s")
