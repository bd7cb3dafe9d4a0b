"""The commands of the pages run unchanged: page by page, in order, each page on its own stack dev."""

from __future__ import annotations

import subprocess

import pytest

from rehearsal.homelab import PIPELINE_IMAGE
from rehearsal.rehearsal import Rehearsal
from tests.pages import DOCS, REPOSITORY, Block, blocks

PLACEHOLDERS = {
    "<stack>": "dev",
    "<ns>": "invoicetron-dev",
    "<image>": PIPELINE_IMAGE.format(stack="dev", tag="1a2b3c4d"),
}
REHEARSED = {page: [block for block in blocks(page) if block.mark == "rehearsed"] for page in DOCS}


def run(rehearsal: Rehearsal, script: str) -> tuple[int, str]:
    """Status and output of a script that stops at its first failure, in the program's directory as in `make shell`."""
    for placeholder, value in PLACEHOLDERS.items():
        script = script.replace(placeholder, value)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607 - the caller's own shell, by PATH
        cwd=rehearsal.program.directory,
        # Where a user answers "yes".
        env={**rehearsal.program.environment, "PULUMI_SKIP_CONFIRMATIONS": "true"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "rehearsed",
    [blocks_ for blocks_ in REHEARSED.values() if blocks_],
    ids=lambda rehearsed: str(rehearsed[0].page.relative_to(REPOSITORY)),
)
def test_the_commands_of_a_page_do_what_it_says(rehearsal: Rehearsal, rehearsed: list[Block]) -> None:
    rehearsal.program.init("dev")
    rehearsal.program.up("dev", "--skip-preview")
    for block in rehearsed:
        for script in (*block.given, block.text):
            status, output = run(rehearsal, script)
            assert status == 0, f"{block}: {script}\n{output}"
