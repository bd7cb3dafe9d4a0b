"""The Access service token: off by default, allowed by its own policy, and nowhere in plain text."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any, Final

import pulumi
import pulumi_onepassword as onepassword
import pytest

from lookups.access_policy import openings
from lookups.secrets import SecretsError, read_secrets
from settings import Settings
from settings.section import today
from tests.stacks import PROD
from tests.unit.account import OnePassword, section
from tests.unit.answers import CLIENT_SECRET
from tests.unit.program import Program, run
from tests.unit.stack_files import refusal_of, with_value

SOON: Final = (today() + dt.timedelta(days=200)).isoformat()
SERVICE_TOKEN: Final = {"item": "op://Kubernetes/Invoicetron Prod Service Token", "expires": SOON}
ASKED: Final = {"access.public.serviceToken": SERVICE_TOKEN, "monitoring.publicModule": "invoicetron_public"}


@pytest.fixture(scope="module")
def asked() -> Program:
    return run("prod", ASKED)


def test_without_the_setting_no_machine_gets_past_the_login(prod: Program) -> None:
    assert not prod.of("ZeroTrustAccessServiceToken")
    assert not prod.of("ZeroTrustAccessPolicy")
    (application,) = prod.of("ZeroTrustAccessApplication")
    assert [one["precedence"] for one in application.inputs["policies"]] == [1]
    assert len(prod.of("Probe")) == 1


def test_the_policy_lets_in_only_the_token_and_comes_after_the_one_for_people(asked: Program) -> None:
    (policy,) = asked.of("ZeroTrustAccessPolicy")
    (token,) = asked.of("ZeroTrustAccessServiceToken")
    assert policy.inputs["decision"] == "non_identity"
    (rule,) = policy.inputs["includes"]
    assert list(rule) == ["serviceToken"]
    assert token.urn in asked.waits_for(policy)
    assert not openings({"include": [{"service_token": {"token_id": "x"}}]}, lambda _: {})
    (application,) = asked.of("ZeroTrustAccessApplication")
    assert [one["precedence"] for one in application.inputs["policies"]] == [1, 2]
    assert policy.urn in asked.waits_for(application)


def test_another_day_issues_another_token(asked: Program) -> None:
    (token,) = asked.of("ZeroTrustAccessServiceToken")
    assert "name" in token.request.replaceOnChanges
    later = (today() + dt.timedelta(days=300)).isoformat()
    (other,) = run("prod", {"access.public.serviceToken": {**SERVICE_TOKEN, "expires": later}}).of(
        "ZeroTrustAccessServiceToken"
    )
    assert other.inputs["name"] != token.inputs["name"]
    assert other.inputs["duration"] == token.inputs["duration"] == "8760h"


def test_the_token_is_written_to_its_item_and_to_gitlab_and_the_secret_is_one_everywhere(asked: Program) -> None:
    (item,) = [one for one in asked.of("RegistryItem") if "service-token" in one.urn or "access-token" in one.urn]
    assert item.inputs["title"] == "Invoicetron Prod Service Token"
    assert "password" in item.secret_inputs
    variables = {one.inputs["key"]: one for one in asked.of("ProjectVariable")}
    assert variables["PUBLIC_HEALTH_URL"].inputs["value"] == "https://invoicetron.rommelporras.com/api/health"
    assert "CF_ACCESS_CLIENT_ID" in variables
    secret = variables["CF_ACCESS_CLIENT_SECRET"]
    assert secret.inputs["masked"]
    assert secret.inputs["protected"]
    assert "value" in secret.secret_inputs


def test_the_secret_is_in_no_input_in_plain(asked: Program) -> None:
    for each in asked.registrations:
        plain = {key: value for key, value in each.inputs.items() if key not in each.secret_inputs}
        assert CLIENT_SECRET not in json.dumps(plain, default=str), each.urn


def test_the_probe_from_outside_asks_for_each_public_hostname_by_its_own_module(asked: Program) -> None:
    inside, outside = (asked.one("Probe", name).inputs["spec"] for name in ("invoicetron", "invoicetron-public"))
    assert (inside["module"], outside["module"]) == ("http_2xx", "invoicetron_public")
    assert outside["targets"]["staticConfig"]["static"] == ["https://invoicetron.rommelporras.com/api/health"]
    assert inside["jobName"] != outside["jobName"]


def test_an_item_of_another_stack_is_refused_by_the_key_that_names_it() -> None:
    marked = {"sections": [section("a", "issued by pulumi", stack="another/prod")]}
    pulumi.runtime.set_mocks(OnePassword(items={"Invoicetron Prod Service Token": marked}))
    settings = Settings.load(PROD, with_value("prod", "access.public.serviceToken", SERVICE_TOKEN))
    with pytest.raises(
        SecretsError, match=r"mark of another/prod(?s:.*)another item in access\.public\.serviceToken\.item"
    ):
        read_secrets(settings, onepassword.Provider("onepassword"))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("access.public.serviceToken", {**SERVICE_TOKEN, "expires": "2020-01-01"}, "a day after today"),
        ("access.public.serviceToken", {**SERVICE_TOKEN, "expires": "2999-01-01"}, "within 365 days"),
        (
            "access.public.serviceToken",
            {**SERVICE_TOKEN, "item": "op://Kubernetes/Invoicetron Prod Deploy Token"},
            "an item other than registry.item",
        ),
        ("monitoring.publicModule", "invoicetron_public", "only with access.public.serviceToken"),
    ],
)
def test_settings_that_could_not_work_are_refused_with_the_reason(path: str, value: Any, words: str) -> None:
    assert words in refusal_of(path, value)
