"""`ops status` on the whole system, and with most of it unreachable."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

from ops.clients import load_settings
from ops.status import status
from ops.verify.check import Result
from tests.rehearsal.verify.breaking import image, last_success
from tests.rehearsal.verify.live import REGISTRY, STACK, Live
from tests.rehearsal.verify.test_verify import dead, kubeconfig


def looked(live: Live) -> dict[str, Result]:
    results = status(load_settings(STACK), transport=live._transport)
    live.assert_no_secret("\n".join(f"{one.seen} {one.fix}" for one in results))
    return {one.check: one for one in results}


def test_status_shows_everything(live: Live) -> None:
    seen = looked(live)
    # The rehearsal has no Prometheus.
    assert [name for name, one in seen.items() if not one.ok] == ["alerts"]
    assert "Prometheus could not be queried: 404" in seen["alerts"].seen
    assert f"{REGISTRY}/prod:" in seen["app"].seen
    assert " UTC (0 min); 1 of 1 replicas updated" in seen["app"].seen or " min); 1 of 1" in seen["app"].seen
    assert "1 of 1 replicas ready, postgres:" in seen["database"].seen
    assert " since " in seen["database"].seen
    assert re.search(r"hours ago: invoicetron-\d{6}-\w+, [\d,]+ rows, .*[kM]?B in \d+ s$", seen["backup"].seen)
    assert list(seen) == [
        *("app", "database", "migration", "pipeline-token", "backup", "drill", "scheduled-checks", "alerts"),
        *("internal-url", "deploy-token", "gitlab-token", "cloudflare-token"),
    ]


def test_whatever_is_wrong_is_shown(live: Live) -> None:
    with image(live, f"{REGISTRY}/prod:placeholder"), last_success(live, "invoicetron-db-drill", None):
        seen = looked(live)
    assert "still the placeholder" in seen["app"].seen
    assert "never succeeded" in seen["drill"].seen


def test_with_every_system_unreachable_the_command_ends_in_seconds_and_says_so(live: Live, tmp_path: Path) -> None:
    away = {
        **live.rehearsal.program.environment,
        "KUBECONFIG": kubeconfig(tmp_path, live, server=f"https://{dead()}"),
        "GITLAB_BASE_URL": f"http://{dead()}/api/v4/",
        "CLOUDFLARE_BASE_URL": f"http://{dead()}",
    }
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "ops", "status", "--stack", STACK],
        env=away, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 60
    assert done.stdout.count("could not be checked") == 12
