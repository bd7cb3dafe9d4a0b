"""A rollout as users experience it: requests without a pause, through a Gateway that learns of pods a moment late."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx

from components.availability import STOP_PAUSE_SECONDS
from ops.clients import dynamic_client
from rehearsal.background import repeated
from rehearsal.homelab import INTERNAL
from rehearsal.rehearsal import Rehearsal
from rehearsal.vendors.backends import LaggingBackends
from rehearsal.vendors.edge import Gateway
from rehearsal.vendors.server import serve

LAG: Final = 2.0
"""Seconds after which the proxy knows of a change: more than Cilium takes, and well within the pause."""
NAMESPACE: Final = "invoicetron-dev"
HOST: Final = f"invoicetron.dev.{INTERNAL}"
IMAGE: Final = "registry.k8s.rommelporras.com/0xwsh/invoicetron/dev:{0}"


@contextmanager
def asked_without_a_pause(url: str) -> Iterator[Counter[int]]:
    """Counts the answers to requests meanwhile, by status; each has its own connection, as each visitor does."""
    answers: Counter[int] = Counter()

    def ask() -> None:
        answers[httpx.get(url, headers={"Host": HOST}, timeout=10).status_code] += 1

    with repeated(ask, every=0), repeated(ask, every=0):
        yield answers


def roll_out(rehearsal: Rehearsal, tag: str) -> None:
    image = f"invoicetron={IMAGE.format(tag)}"
    rehearsal.kubectl("-n", NAMESPACE, "set", "image", "deployment/invoicetron", image, "--field-manager=gitlab-ci")
    settled(rehearsal)


def settled(rehearsal: Rehearsal) -> None:
    """Waits until the rollout is over and the proxy has learned of its last change."""
    rehearsal.kubectl("-n", NAMESPACE, "rollout", "status", "deployment/invoicetron", "--timeout=120s")
    time.sleep(LAG + 0.5)


def test_no_request_fails_during_a_rollout_and_without_the_pause_some_do(rehearsal: Rehearsal) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    roll_out(rehearsal, "1a2b3c4d")
    cluster = dynamic_client(rehearsal.client)
    backends = LaggingBackends(cluster, "invoicetron", NAMESPACE, lag=LAG)
    assert LAG < STOP_PAUSE_SECONDS
    with backends.watching(), serve(Gateway(cluster, backends).app) as url:
        with asked_without_a_pause(f"{url}/api/health") as answers:
            roll_out(rehearsal, "2b3c4d5e")
        assert answers.keys() == {200}
        assert answers.total() > 20

        # The same app, but its container ends as soon as its pod is deleted.
        patch = [{"op": "remove", "path": "/spec/template/spec/containers/0/lifecycle"}]
        change = ["-n", NAMESPACE, "patch", "deployment/invoicetron", "--type=json", "--patch", json.dumps(patch)]
        rehearsal.kubectl(*change)
        settled(rehearsal)
        with asked_without_a_pause(f"{url}/api/health") as answers:
            roll_out(rehearsal, "3c4d5e6f")
        assert answers[502] > 0
        assert answers[200] > 20
