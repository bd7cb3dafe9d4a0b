"""The engine runs the policy pack, which stops a preview that breaks a rule."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ci.report import STREAMED, Preview
from policies import delivery, exposure, pods
from rehearsal.engine import EngineError, Program
from rehearsal.rehearsal import Rehearsal

RULES = {rule.name for rule in (*pods.RULES, *exposure.RULES, *delivery.RULES)} | {"no-plaintext-secrets"}


def test_every_rule_reaches_the_engine(rehearsal: Rehearsal, tmp_path: Path) -> None:
    directory = tmp_path / "rule-breaker"
    directory.mkdir()
    (directory / "Pulumi.yaml").write_text("name: rule-breaker\nruntime: python\n")
    shutil.copy(Path(__file__).parent / "rule_breaker.py", directory / "__main__.py")
    broken = Program(
        pulumi=rehearsal.program.pulumi,
        directory=directory,
        environment=rehearsal.program.environment,
        policies=rehearsal.program.policies,
    )
    broken.init("prod")
    with pytest.raises(EngineError) as refused:
        broken.preview("prod")
    assert set(re.findall(r"^ *- \[mandatory\] +([a-z-]+)", str(refused.value), re.MULTILINE)) == RULES, refused.value
    # And the reviewer of a merge request.
    printed = subprocess.run(
        [str(broken.pulumi), "preview", "--stack", "prod", "--json", "--policy-pack", str(broken.policies)],
        cwd=directory,
        env={**broken.environment, **STREAMED},
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    report = Preview.parse(printed.stdout, status=printed.returncode)
    assert {violation.policy for violation in report.violations} == RULES
    assert report.failed
