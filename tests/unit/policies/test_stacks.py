"""The stacks break no rule of the policy pack, whatever their optional parts are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest

from policies import delivery, exposure, pods
from policies.rule import Resource, Rule
from tests.unit import test_offsite, test_postgres_exporter, test_wal_archive
from tests.unit.program import Program, run

STATEMENTS: Final = {**test_postgres_exporter.METRICS["databaseMetrics"], "statements": True}
OPTIONAL: Final[Mapping[str, tuple[Mapping[str, Any], Mapping[str, str]]]] = {
    "nothing": ({}, {}),
    "off-site copies": ({"backup.s3": test_offsite.S3}, test_offsite.VALUES),
    "postgres_exporter": (
        {"monitoring": {"databaseMetrics": STATEMENTS, "dashboard": True}},
        test_postgres_exporter.VALUES,
    ),
    "TLS": ({"database.tls": "required"}, {}),
    "CloudNativePG with an archive": (
        {**test_wal_archive.ENGINE, "database.wal": test_wal_archive.WAL},
        test_wal_archive.VALUES,
    ),
}
"""Changes to the stack file, and what 1Password has for them."""


def resources(program: Program) -> list[Resource]:
    return [
        Resource(
            type=one.type,
            urn=one.urn,
            inputs=one.inputs,
            protect=one.request.protect,
            dependencies=(*one.request.dependencies, one.parent),
        )
        for one in program.registrations
    ]


def violations(rule: Rule, found: list[Resource]) -> Iterator[str]:
    if rule.each:
        yield from (f"{one.urn}: {message}" for one in found for message in rule.each(one))
    if rule.all:
        yield from (f"{one.urn}: {one.message}" for one in rule.all(found))


@pytest.mark.parametrize("part", OPTIONAL)
def test_a_stack_with_an_optional_part_breaks_no_rule(part: str) -> None:
    changes, values = OPTIONAL[part]
    found = resources(run("prod", changes, values=values))
    rules = (*pods.RULES, *exposure.RULES, *delivery.RULES)
    assert [message for rule in rules for message in violations(rule, found)] == []
