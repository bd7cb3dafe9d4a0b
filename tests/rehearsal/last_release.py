"""The program of the last release, taken from git: what runs in people's clusters until they upgrade."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from rehearsal.rehearsal import REPOSITORY
from tests.rehearsal import stack_files

COMMIT = "e79c8321a6e05bbd65cf10a51da1086fe695da46"
"""The last release. A release writes the new commit here; CHANGELOG.md says what an upgrade from it changes."""


def extract(directory: Path) -> None:
    """Puts the released program into `directory`, which does not exist yet. Fails with advice in a shallow clone."""
    git = shutil.which("git") or "git"
    archived = subprocess.run([git, "archive", COMMIT], cwd=REPOSITORY, capture_output=True, check=False)
    if archived.returncode:
        pytest.fail(f"The last release, {COMMIT}, is not in this clone: git fetch --unshallow\n{archived.stderr!r}")
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(directory, filter="data")
    (directory / ".venv").symlink_to(sys.prefix)
    write_stack_files(directory)


def write_stack_files(directory: Path) -> None:
    """Puts the tests' stack files there, with the key that the last release asks for and the present one takes."""
    stack_files.write_stack_files(directory)
    for file in directory.glob("Pulumi.*.yaml"):
        stack = file.name.removeprefix("Pulumi.").removesuffix(".yaml")
        namespace = f"config:\n  invoicetron:namespace: invoicetron-{stack}\n"
        file.write_text(file.read_text().replace("config:\n", namespace, 1))
