"""The account of previews, as docs/merge-requests.md has its ClusterRole created."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any, Final

import pytest

from tests.pages import REPOSITORY, commands
from tests.unit.policies.test_stacks import OPTIONAL
from tests.unit.program import run
from tests.unit.test_permissions import kind_of

PAGE: Final = REPOSITORY / "docs" / "merge-requests.md"
READ: Final = (
    ("", "pods"),
    ("", "pods/log"),
    ("", "endpoints"),
    ("apiregistration.k8s.io", "apiservices"),
    ("batch", "jobs"),
    ("coordination.k8s.io", "leases"),
    ("gateway.networking.k8s.io", "gatewayclasses"),
    ("longhorn.io", "settings"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("storage.k8s.io", "storageclasses"),
)
"""What look-ups and checks read besides the program's own resources."""


def readable() -> set[tuple[str, str]]:
    """Group and resource of everything that the ClusterRole names, as `kubectl create clusterrole` reads them."""
    (command,) = (each for each in commands(PAGE) if each.startswith("kubectl create clusterrole preview "))
    options = [word.partition("=") for word in shlex.split(command) if word.startswith("--")]
    found = set()
    for name, _, value in options:
        if name == "--resource":
            for one in value.split(","):
                kind, slash, subresource = one.partition("/")
                resource, _, group = kind.partition(".")
                found.add((group, f"{resource}{slash}{subresource}"))
    return found


def may_read(group: str, resource: str) -> bool:
    """As RBAC decides: `*` includes subresources."""
    return bool({(one, name) for one in (group, "*") for name in (resource, "*")} & readable())


@pytest.mark.parametrize("part", OPTIONAL)
def test_it_reads_whatever_a_stack_creates(part: str) -> None:
    changes: Mapping[str, Any] = {**OPTIONAL[part][0], "delivery.admissionPolicy": True}
    registered = run("prod", changes, values=OPTIONAL[part][1]).registrations
    kinds = {kind_of(one) for one in registered if one.custom and one.type.startswith("kubernetes:")}
    assert ("", "secrets") in kinds
    assert sorted(one for one in kinds if not may_read(*one)) == []


@pytest.mark.parametrize(("group", "resource"), READ)
def test_it_reads_what_lookups_and_checks_need(group: str, resource: str) -> None:
    assert may_read(group, resource)


@pytest.mark.parametrize(
    "resource", ["nodes/proxy", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy"]
)
def test_it_runs_no_command_and_opens_no_connection(resource: str) -> None:
    """A WebSocket begins with a GET, which the verb `get` allows (kubernetes/kubernetes#78741)."""
    assert not may_read("", resource)
