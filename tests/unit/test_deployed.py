"""What is said of the cluster before the first resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest import mock

import pytest

from lookups.cluster import Cluster, ClusterError, ForbiddenError
from lookups.deployed import check_cluster
from tests.unit.program import load_settings

OWN, DEFAULT, APP = "namespaces/invoicetron-dev", "namespaces/default", "deployments/invoicetron"


class Holding(Cluster):
    """A cluster with these objects; an error stands for what is raised instead."""

    def __init__(self, **objects: Any) -> None:
        self._objects = objects

    def get(self, api_version: str, resource: str, name: str, namespace: str | None = None) -> Mapping[str, Any] | None:
        assert namespace in {None, "invoicetron-dev"}
        assert api_version == ("v1" if resource == "namespaces" else "apps/v1")
        found = self._objects.get(f"{resource}/{name}")
        if isinstance(found, Exception):
            raise found
        return {} if found else None


@pytest.mark.parametrize(
    ("objects", "warned"),
    [
        ({OWN: True, DEFAULT: True, APP: True}, False),
        ({OWN: True, APP: True}, False),
        ({OWN: True}, True),
        ({DEFAULT: True}, False),
        ({DEFAULT: ForbiddenError("not yours")}, False),
    ],
)
def test_a_stack_that_is_up_without_its_app_is_warned_of(objects: dict[str, Any], warned: bool) -> None:
    settings = load_settings("dev")
    with mock.patch("pulumi.log.warn") as warn:
        check_cluster(settings, Holding(**objects))
    said = "".join(call.args[0] for call in warn.call_args_list)
    for words in ("has no Deployment invoicetron", settings.app.image, "run it again on the branch develop"):
        assert (words in said) == warned


FORBIDDEN, AWAY = ForbiddenError("not yours"), ClusterError("away")


@pytest.mark.parametrize("objects", [{}, {OWN: FORBIDDEN, DEFAULT: True}, {OWN: AWAY}, {DEFAULT: AWAY}])
def test_what_is_no_usable_answer_ends_the_program(objects: dict[str, Any]) -> None:
    with pytest.raises(ClusterError):
        check_cluster(load_settings("dev"), Holding(**objects))
