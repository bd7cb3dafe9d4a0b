"""Import ids of what exists in GitLab, as `recover` and `import-existing` look it up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cloudflare import Cloudflare as CloudflareClient
from gitlab import Gitlab
from starlette.types import ASGIApp

from ops.adopt.existing import Live
from rehearsal.vendors.cloudflare import Cloudflare
from rehearsal.vendors.gitlab import GitLab
from tests.stacks import DEV


@pytest.mark.parametrize(
    ("kind", "collection", "made", "inputs", "id_"),
    [
        (
            "projectProtectedEnvironment:ProjectProtectedEnvironment",
            "protected_environments",
            {"name": "production", "deploy_access_levels": [{"access_level": 40}]},
            {"environment": "production"},
            "production",
        ),
        (
            "tagProtection:TagProtection",
            "protected_tags",
            {"name": "v*", "create_access_level": 40},
            {"tag": "v*"},
            "v*",
        ),
        (
            "pipelineSchedule:PipelineSchedule",
            "schedules",
            {"description": "verify and drift", "ref": "refs/heads/main", "cron": "15 5 * * *"},
            {"description": "verify and drift"},
            None,
        ),
    ],
)
def test_what_a_killed_up_made_in_gitlab_is_found_by_what_the_program_asked_for(
    served: Callable[[ASGIApp], str],
    *,
    kind: str,
    collection: str,
    made: dict[str, Any],
    inputs: dict[str, Any],
    id_: str | None,
) -> None:
    server, nowhere = GitLab.seeded(), None
    client = Gitlab(served(server.app), private_token=server.token)
    live = Live(kubernetes=nowhere, names=DEV, gitlab=client)  # type: ignore[arg-type] # nothing is read from the cluster
    type_, asked = f"gitlab:index/{kind}", {"project": str(server.project.id), **inputs}
    assert live.find(type_, asked) is None
    number = getattr(server.project, collection).create(made).get("id")
    assert live.find(type_, asked) == f"{server.project.id}:{id_ or number}"
    other = {key: f"another {value}" for key, value in inputs.items()}
    assert live.find(type_, {**asked, **other}) is None


def test_a_community_edition_without_protected_environments_has_none(served: Callable[[ASGIApp], str]) -> None:
    server, nowhere = GitLab("0xwsh/invoicetron", enterprise=False), None
    client = Gitlab(served(server.app), private_token=server.token)
    live = Live(kubernetes=nowhere, names=DEV, gitlab=client)  # type: ignore[arg-type] # nothing is read from the cluster
    asked = {"project": str(server.project.id), "environment": "production"}
    assert live.find("gitlab:index/projectProtectedEnvironment:ProjectProtectedEnvironment", asked) is None


@pytest.mark.parametrize("first", ["invoices.example.com", "blog.example.com"])
def test_an_application_that_also_guards_another_apps_hostname_is_not_adopted(
    served: Callable[[ASGIApp], str], first: str
) -> None:
    """It would get this stack's policy, and go with this stack: the other app would be open to everybody."""
    server, nowhere = Cloudflare(), None
    id_ = server.add_application(first, name="Homelab")
    server.applications[id_]["self_hosted_domains"] = ["invoices.example.com", "blog.example.com"]
    client = CloudflareClient(api_token=server.token, base_url=f"{served(server.app)}/client/v4")
    live = Live(kubernetes=nowhere, names=DEV, cloudflare=client)  # type: ignore[arg-type] # as above
    type_, asked = "cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication", "invoices.example.com"
    inputs = {"accountId": server.account_id, "domain": asked}
    (blocker,) = live.blockers(type_, inputs)
    assert blocker.fatal
    assert "blog.example.com" in blocker.why
    server.applications[id_] |= {"domain": asked, "self_hosted_domains": [asked, f"{asked}/api"], "destinations": []}
    assert not list(live.blockers(type_, inputs))


def test_a_bookmark_of_the_hostname_is_not_imported_as_its_application(served: Callable[[ASGIApp], str]) -> None:
    server, nowhere = Cloudflare(), None
    bookmark, application = (server.add_application("invoices.example.com", name=name) for name in ("Link", "Invoices"))
    server.applications[bookmark]["type"] = "bookmark"
    client = CloudflareClient(api_token=server.token, base_url=f"{served(server.app)}/client/v4")
    live = Live(kubernetes=nowhere, names=DEV, cloudflare=client)  # type: ignore[arg-type] # as above
    inputs = {"accountId": server.account_id, "domain": "invoices.example.com"}
    found = live.find("cloudflare:index/zeroTrustAccessApplication:ZeroTrustAccessApplication", inputs)
    assert found == f"accounts/{server.account_id}/{application}"
