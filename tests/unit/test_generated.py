"""The generated files are what `make generate` would write now: schema, pages, drawings and URNs.

A URN that changes on purpose needs an `aliases` option; otherwise the resource is deleted and recreated in production.
"""

from __future__ import annotations

from tests.unit.generate import generated
from tests.unit.program import REPOSITORY, Program


def test_every_generated_file_is_up_to_date(dev: Program, prod: Program) -> None:
    stale = [
        str(file.relative_to(REPOSITORY))
        for file, content in generated({"dev": dev, "prod": prod})
        if not file.is_file() or file.read_text(encoding="utf-8") != content
    ]
    assert not stale, "look at the difference that `make generate` makes, and commit it where it is meant"
