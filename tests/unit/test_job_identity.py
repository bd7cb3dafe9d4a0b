"""As which user the pipeline's jobs log in with ID tokens, and what has to be ready before the first resource."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from lookups.cluster import Cluster, ClusterError, ForbiddenError
from lookups.gitlab import GitLabProject
from lookups.job_identity import find_problems, job_user, read_job_identity
from settings import Settings
from tests.unit.program import load_settings

PLAIN = load_settings("dev")
assert PLAIN.delivery is not None
DELIVERY = PLAIN.delivery.model_copy(update={"credentials": "id-token"})
SETTINGS = PLAIN.model_copy(update={"delivery": DELIVERY})


class Answering(Cluster):
    """Has these API servers' pods (None: they may not be listed), and the certificate in these namespaces."""

    def __init__(
        self, servers: Sequence[Mapping[str, Any]] | None = (), authority: Mapping[str, str | None] | None = None
    ) -> None:
        self._servers = servers
        self._authority = {"invoicetron-dev": "PEM"} if authority is None else authority

    def list(self, _version: str, resource: str, namespace: str | None = None, *, selector: str | None = None) -> Any:
        assert (resource, namespace, selector) == ("pods", "kube-system", "component=kube-apiserver")
        if self._servers is None:
            raise ForbiddenError("no")
        return self._servers

    def get(self, _version: str, resource: str, name: str, namespace: str | None = None) -> Any:
        assert (resource, name) == ("configmaps", "kube-root-ca.crt")
        found = self._authority.get(str(namespace))
        if found == "forbidden":
            raise ForbiddenError("no")
        return {"data": {"ca.crt": found}} if found else None


def server(name: str, *arguments: str) -> dict[str, Any]:
    command = ["kube-apiserver", *arguments]
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "kube-apiserver", "command": command}]}}


def project(*protected: str) -> GitLabProject:
    return GitLabProject(
        gitlab="https://gitlab.example.com",
        id="57",
        default_branch="main",
        enterprise=True,
        environments={},
        variables=frozenset(),
        branches=frozenset({"main", "develop"}),
        protections=frozenset(protected),
        protected_environments=frozenset(),
        foreign=(),
    )


CONFIGURED = server("a", "--authentication-config=/etc/kubernetes/gitlab/authentication.yaml")


def refused(cluster: Cluster, *protected: str, settings: Settings = SETTINGS) -> str:
    with pytest.raises(ClusterError) as error:
        read_job_identity(settings, project(*protected), cluster)
    return str(error.value)


def test_a_pipeline_with_its_own_token_asks_for_nothing() -> None:
    assert read_job_identity(PLAIN, project(), Answering(None, {})) is None


def test_the_user_stands_for_one_project_branch_and_environment() -> None:
    found = read_job_identity(SETTINGS, project("develop"), Answering([CONFIGURED]))
    assert found is not None
    assert found.user == job_user("57", DELIVERY) == "gitlab:project:57:branch:develop:environment:development"
    assert base64.b64decode(found.certificate_authority) == b"PEM"


def test_before_the_namespace_exists_the_certificate_is_another_namespaces() -> None:
    for authority in ({"default": "PEM"}, {"invoicetron-dev": "forbidden", "default": "PEM"}):
        assert read_job_identity(SETTINGS, project("dev*"), Answering([], authority))


def test_everything_that_is_not_ready_is_in_one_message() -> None:
    message = refused(Answering([CONFIGURED, server("b", "--oidc-issuer-url=https://x.example")], {}), "main")
    assert "The API server b runs without --authentication-config" in message
    assert "The API server a" not in message
    assert "The branch develop of 0xwsh/invoicetron is not protected" in message
    assert "neither in invoicetron-dev nor in default" in message
    assert "Nothing was created or changed" in message


def test_api_servers_that_cannot_be_seen_are_no_problem() -> None:
    assert not list(find_problems(Answering(None)))
    assert not list(find_problems(Answering([])))
