"""The owner of an object, read from its mark, labels or target; and what competes with the stack's own route."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from lookups.cluster import Cluster, ForbiddenError
from lookups.ownership import Claim, OwnershipError, check_ownership, in_cluster, owner_of_namespace
from settings import Settings
from settings.backup import BackupSettings
from settings.ownership import Owner
from tests.stacks import DEV, PROD
from tests.unit.program import run
from tests.unit.stack_files import sections

GATEWAY = {"name": "homelab-gateway", "namespace": "default"}
SERVES = {"backendRefs": [{"name": "other", "port": 80}]}
REDIRECTS = {"filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]}


@pytest.mark.parametrize("stack", ["prod", "review-42", "a.b_c"])
def test_a_mark_is_read_back_from_whatever_text_holds_it(stack: str) -> None:
    owner = Owner("invoicetron", stack)
    assert Owner.marked(f"{owner.mark}") == Owner.marked(f"x ({owner.mark}), edited") == owner


@pytest.mark.parametrize("text", [None, "", "managed by pulumi: invoicetron", "by hand", "invoicetron/prod"])
def test_a_text_without_a_whole_mark_names_no_owner(text: str | None) -> None:
    assert Owner.marked(text) is None


@pytest.mark.parametrize(
    ("labels", "owner"),
    [
        ({"app.kubernetes.io/part-of": "shop", "app.kubernetes.io/instance": "shop-dev"}, Owner("shop", "dev")),
        ({"app.kubernetes.io/part-of": "shop", "app.kubernetes.io/instance": "argo-app"}, None),
        ({"app.kubernetes.io/instance": "invoicetron-dev"}, None),
        ({"app.kubernetes.io/part-of": "shop"}, None),
        (None, None),
    ],
)
def test_labels_name_an_owner_only_where_both_fit(labels: dict[str, str] | None, owner: Owner | None) -> None:
    assert Owner.of_labels(labels) == owner


def test_a_namespace_of_the_project_names_its_stack() -> None:
    assert Owner.of_namespace("invoicetron-review-1", project="invoicetron") == Owner("invoicetron", "review-1")
    for other in ("invoicetron-", "monitoring"):
        assert Owner.of_namespace(other, project="invoicetron") is None


class Held(Cluster):
    """A cluster that holds these objects, by resource."""

    def __init__(self, **objects: list[dict[str, Any]] | Exception) -> None:
        self._objects = objects

    def get(self, api_version: str, resource: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        found = (one for one in self.list(api_version, resource, namespace) if one["metadata"]["name"] == name)
        return next(found, None)

    def list(self, _api_version: str, resource: str, namespace: str | None = None) -> list[dict[str, Any]]:  # type: ignore[override]
        found = self._objects.get(resource, [])
        if isinstance(found, Exception):
            raise found
        return [one for one in found if namespace in (None, one["metadata"].get("namespace"))]


def route(
    settings: Settings, *rules: dict[str, Any], gateway: dict[str, str] | None = None, **meta: Any
) -> dict[str, Any]:
    """Another owner's route for the stack's hostname."""
    hostnames = ["other.example.com", settings.access.hostnames[0].upper()]
    spec = {"hostnames": hostnames, "parentRefs": [gateway or GATEWAY], "rules": list(rules)}
    return {"metadata": {"name": "theirs", "namespace": "default", **meta}, "spec": spec}


@pytest.fixture
def settings() -> Settings:
    return Settings.load(DEV, sections("dev"))


def claims(settings: Settings, cluster: Cluster) -> list[Claim]:
    return list(in_cluster(settings, cluster))


def refusal(settings: Settings, cluster: Cluster, *folders: Path, outputs: Collection[str] = ()) -> str:
    """Why the stack is refused; empty if it is not."""
    try:
        check_ownership(settings, cluster, [], folders, outputs=outputs)
    except OwnershipError as refused:
        return str(refused)
    return ""


def test_a_second_route_for_the_hostname_is_another_s(settings: Settings) -> None:
    (claim,) = claims(settings, Held(httproutes=[route(settings, SERVES)]))
    assert (claim.evidence, claim.setting) == ("the HTTPRoute default/theirs", "access.hostname")


def test_a_route_that_redirects_or_is_at_another_gateway_or_is_the_stack_s_own_takes_nothing(
    settings: Settings,
) -> None:
    others = [
        route(settings, REDIRECTS),
        route(settings, SERVES, gateway={"name": "outside", "namespace": "default"}),
        route(settings, SERVES, gateway={"name": "homelab-gateway"}, namespace="elsewhere"),
        route(settings, SERVES, name="invoicetron", namespace=settings.namespace),
    ]
    assert not claims(settings, Held(httproutes=others))


def test_a_marked_route_is_another_s_at_whichever_gateway(settings: Settings) -> None:
    labels = {"app.kubernetes.io/part-of": "shop", "app.kubernetes.io/instance": "shop-dev"}
    (claim,) = claims(settings, Held(httproutes=[route(settings, SERVES, gateway={"name": "outside"}, labels=labels)]))
    assert claim.owner == "shop/dev"


def test_routes_that_may_not_be_listed_only_cause_a_warning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned = Mock()
    monkeypatch.setattr("pulumi.log.warn", warned)
    assert not claims(settings, Held(httproutes=ForbiddenError("no")))
    assert settings.access.hostname in warned.call_args.args[0]


def test_a_namespace_that_bears_another_project_s_labels_is_another_s(settings: Settings) -> None:
    labels = {"app.kubernetes.io/part-of": "invoicetron-x", "app.kubernetes.io/instance": "invoicetron-x-y"}
    meta = {"name": settings.namespace, "labels": labels}
    (claim,) = claims(settings, Held(namespaces=[{"metadata": meta}]))
    assert claim.what == f"the namespace {settings.namespace}"
    assert not claims(settings, Held(namespaces=[{"metadata": {"name": settings.namespace}}]))


def shared(directory: Path, stack: str, project: str) -> None:
    config = {"invoicetron:delivery": {"project": project}, "invoicetron:repository": {"mirror": "x"}}
    (directory / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump({"config": config}))
    (directory / "Pulumi.yaml").write_text("name: invoicetron\n")


def test_the_repository_of_a_deployed_stack_is_another_s_for_a_stack_without_one(tmp_path: Path) -> None:
    prod = Settings.load(PROD, sections("prod"))
    assert prod.delivery
    shared(tmp_path, "older", prod.delivery.project)
    shared(tmp_path, "planned", prod.delivery.project)
    shared(tmp_path, "of-another-project", "somebody/else")
    (tmp_path / "Pulumi.broken.yaml").write_text("config: [")
    lives = [{"metadata": {"name": f"invoicetron-{stack}"}} for stack in ("older", "of-another-project", "broken")]
    for held in (Held(namespaces=lives), Held(namespaces=[*lives, {"metadata": {"name": prod.namespace}}])):
        message = refusal(prod, held, tmp_path, outputs=["namespace"])
        assert "belongs to invoicetron/older, as the section repository of Pulumi.older.yaml shows" in message
        assert message.count("belongs to") == 1
        assert not refusal(prod, held, tmp_path, outputs=["namespace", "mirror_key"])


@pytest.mark.parametrize("prefix", ["ledger:", ""])
def test_the_repository_of_another_app_s_deployed_stack_is_another_s(tmp_path: Path, prefix: str) -> None:
    prod = Settings.load(PROD, sections("prod"))
    assert prod.delivery
    shared(tmp_path, "prod", prod.delivery.project)
    other = tmp_path / "other"
    other.mkdir()
    config = {f"{prefix}delivery": {"project": prod.delivery.project}, f"{prefix}repository": {"mirror": "x"}}
    (other / "Pulumi.prod.yaml").write_text(yaml.safe_dump({"config": config}))
    (other / "Pulumi.yaml").write_text("name: ledger\n")
    held = Held(namespaces=[{"metadata": {"name": "ledger-prod"}}])
    assert "belongs to ledger/prod" in refusal(prod, held, tmp_path, other)


def test_a_namespace_s_labels_count_more_than_its_name() -> None:
    theirs = {"app.kubernetes.io/part-of": "invoicetron-x", "app.kubernetes.io/instance": "invoicetron-x-y"}
    held = Held(namespaces=[{"metadata": {"name": "invoicetron-x-y", "labels": theirs}}])
    assert owner_of_namespace(held, "invoicetron-x-y", project="invoicetron") == Owner("invoicetron-x", "y")
    for cluster in (Held(), Held(namespaces=ForbiddenError("no"))):
        assert owner_of_namespace(cluster, "invoicetron-x-y", project="invoicetron") == Owner("invoicetron", "x-y")
        assert owner_of_namespace(cluster, "ledger-dev", project="invoicetron") is None


def test_the_folder_of_another_stack_s_backups_is_another_s_for_a_stack_without_one(settings: Settings) -> None:
    export = {"server": "10.0.0.1", "path": "/exports/backups"}
    backup = BackupSettings.model_validate({"nfs": {**export, "path": "/exports/backups/"}})
    wanting = settings.model_copy(update={"backup": backup})
    theirs = {"app.kubernetes.io/part-of": "ledger", "app.kubernetes.io/instance": "ledger-dev"}
    volume = {"metadata": {"name": "ledger-dev-backups", "labels": theirs}, "spec": {"nfs": export}}
    own = {"metadata": {"name": "invoicetron-dev-backups"}, "spec": {"nfs": export}}
    by_hand = {"metadata": {"name": "nas"}, "spec": {"nfs": export}}
    elsewhere = {**volume, "spec": {"nfs": {**export, "path": "/exports/other"}}}
    (claim,) = claims(wanting, Held(persistentvolumes=[volume, by_hand]))
    assert (claim.owner, claim.setting) == ("ledger/dev", "backup.nfs.path")
    for volumes in ([own, volume], [elsewhere], [by_hand]):
        assert not claims(wanting, Held(persistentvolumes=volumes))
    assert not claims(settings, Held(persistentvolumes=[volume]))


def test_all_conflicts_are_reported_at_once_with_their_settings(settings: Settings) -> None:
    claim = Claim(what="the item x", owner="invoicetron/prod", evidence="its field", setting="registry.item")
    cluster = Held(httproutes=[route(settings, SERVES)])
    with pytest.raises(OwnershipError) as refused:
        check_ownership(settings, cluster, [claim])
    for text in ("Stack 'dev'", "the item x", "change registry.item", "change access.hostname"):
        assert text in str(refused.value)
    check_ownership(settings, Held(), [])


def test_an_admission_policy_that_bears_another_s_labels_is_another_s(settings: Settings) -> None:
    assert settings.delivery
    policy = {"name": "invoicetron-dev-gitlab-deploy-jobs"}
    theirs = {"app.kubernetes.io/part-of": "shop", "app.kubernetes.io/instance": "shop-dev"}
    held = Held(validatingadmissionpolicies=[{"metadata": {**policy, "labels": theirs}}])
    wanting = settings.model_copy(update={"delivery": settings.delivery.model_copy(update={"admission_policy": True})})
    (claim,) = claims(wanting, held)
    assert (claim.owner, claim.what) == ("shop/dev", "the ValidatingAdmissionPolicy invoicetron-dev-gitlab-deploy-jobs")
    assert not claims(settings, held)
    assert not claims(wanting, Held(validatingadmissionpolicies=[{"metadata": policy}]))


ENVIRONMENT = {"id": 3, "name": "development"}
VARIABLE = {"key": "KUBE_CA", "environmentScope": "development", "value": "x"}


@pytest.mark.parametrize(
    ("environment", "variable", "evidence"),
    [
        ({"description": PROD.owner.mark}, {}, "its description"),
        ({"description": "by hand"}, {"description": PROD.owner.mark}, "the description of its variable KUBE_CA"),
        ({}, {"key": "KUBE_NAMESPACE", "value": PROD.namespace}, "its variable KUBE_NAMESPACE"),
    ],
)
def test_an_environment_that_is_another_stack_s_by_its_or_its_variables_marks_is_refused(
    environment: dict[str, Any], variable: dict[str, Any], evidence: str
) -> None:
    found = {
        "getProjectEnvironments": {"environments": [ENVIRONMENT | environment]},
        "getProjectVariables": {"variables": [VARIABLE | variable]},
    }
    with pytest.raises(
        OwnershipError, match=f"invoicetron/prod, as {evidence} shows: change delivery.environment.name"
    ):
        run("dev", gitlab=found)


@pytest.mark.parametrize(
    "variable",
    [
        {"description": DEV.owner.mark},
        {"key": "KUBE_NAMESPACE", "value": DEV.namespace},
        {"key": "KUBE_NAMESPACE", "value": "somewhere"},
        {"key": "KUBE_NAMESPACE", "value": PROD.namespace, "environmentScope": "production"},
        {"key": "APP_NAME", "value": PROD.namespace},
    ],
)
def test_an_environment_that_is_the_stack_s_own_or_nobody_s_is_adopted(variable: dict[str, Any]) -> None:
    for mark in (DEV.owner.mark, ""):
        found = {
            "getProjectEnvironments": {"environments": [ENVIRONMENT | {"description": mark}]},
            "getProjectVariables": {"variables": [VARIABLE | variable]},
        }
        assert run("dev", gitlab=found).of("ProjectEnvironment")[0].request.importId == "57:3"
