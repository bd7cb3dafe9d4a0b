"""The settings as Pulumi passes them, and as Pulumi.yaml and the schema for editors declare them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pulumi
import pytest
import yaml
from pulumi.runtime.settings import set_root_resource

from settings import Settings, SettingsError, load_from_pulumi
from settings.errors import NO_KEYS
from settings.schema import stack_file_schema
from settings.section import today
from tests.stacks import DEV, PROD, PROJECT
from tests.unit.stack_files import ROOT, sections, stack_file, with_value
from tests.unit.test_settings import NAMES, SECRET, expiring


@pytest.fixture
def pulumi_config() -> Iterator[None]:
    """Empties Pulumi's config after the test, whatever the test sets, and removes the stack of its mocks."""
    yield
    pulumi.runtime.set_all_config({}, [])
    # Its outputs belong to the event loop of this test, and set_mocks would keep it for the next one.
    set_root_resource(None)  # type: ignore[arg-type] # what it is before the first stack


def hand_over(stack: str, config: dict[str, Any]) -> None:
    """Passes the content of a stack file to the program, as Pulumi does."""
    pulumi.runtime.set_mocks(Nothing(), project="invoicetron", stack=stack)
    handed = {key: text if isinstance(text, str) else json.dumps(text) for key, text in config.items()}
    pulumi.runtime.set_all_config(handed | {"pulumi:disable-default-providers": '["*"]'}, [])


@pytest.mark.usefixtures("pulumi_config")
def test_pulumi_s_config_is_read_as_pulumi_hands_it_over() -> None:
    hand_over("prod", stack_file("prod")["config"])
    assert load_from_pulumi() == Settings.load(PROD, sections("prod"))


@pytest.mark.usefixtures("pulumi_config")
def test_unknown_keys_of_the_project_are_refused_and_encrypted_ones_not_shown() -> None:
    pulumi.runtime.set_mocks(Nothing(), project="invoicetron", stack="dev")
    pulumi.runtime.set_all_config(
        {"invoicetron:namespace": SECRET, "invoicetron:nonsense": "1"}, ["invoicetron:namespace"]
    )
    with pytest.raises(SettingsError, match="invoicetron:nonsense") as error:
        load_from_pulumi()
    assert SECRET not in str(error.value)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("invoicetorn:backup", "invoicetron:backup"),
        ("invoicetron-prod:backup", "invoicetron:backup"),
        ("Invoicetron:backup", "invoicetron:backup"),
        ("invoicetron :backup", "invoicetron:backup"),
        ("invoicetorn:bakcup", "invoicetron:backup"),
        ("invoice:backup", "invoicetron:backup"),
        ("homelab:monitoring", "invoicetron:monitoring"),
        ("invoicetorn:nothing-like-it", None),
    ],
)
@pytest.mark.usefixtures("pulumi_config")
def test_a_section_under_a_mistyped_prefix_is_refused_with_every_other_mistake(key: str, meant: str | None) -> None:
    hand_over("prod", {**stack_file("prod")["config"], key: {}, "invoicetron:protect": False})
    with pytest.raises(SettingsError) as error:
        load_from_pulumi()
    message = str(error.value)
    assert "2 mistakes" in message
    assert f"\n  {key}\n" in message
    assert "invoicetron:protect" in message
    assert (f"did you mean {meant}?" if meant else "fix:     remove it") in message


@pytest.mark.parametrize(
    "key", ["pulumi:tags", "kubernetes:namespace", "gitlab:token", "cloudflare:apiToken", "aws:region"]
)
@pytest.mark.usefixtures("pulumi_config")
def test_keys_of_pulumi_of_its_providers_and_of_others_are_not_mistakes(key: str) -> None:
    hand_over("prod", {**stack_file("prod")["config"], key: "x"})
    assert load_from_pulumi() == Settings.load(PROD, sections("prod"))


class Nothing(pulumi.runtime.Mocks):
    """Fails on any resource or function."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        raise NotImplementedError

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise NotImplementedError


def test_the_project_file_knows_every_section() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())
    known = {key for key in project["config"] if ":" not in key}
    assert known == set(Settings.model_fields) - set(NO_KEYS)


def test_the_defaults_of_the_project_file_are_right() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    defaults = {key: entry["default"] for key, entry in project.items() if "default" in entry}
    assert Settings.load(DEV, defaults | sections("dev")) == Settings.load(DEV, sections("dev"))


@pytest.mark.parametrize("stack", NAMES)
def test_editors_find_the_schema_and_no_mistake_in_the_live_stack_files(stack: str) -> None:
    text = (ROOT / f"Pulumi.{stack}.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=./stack.schema.json\n")
    jsonschema.Draft7Validator(json.loads(stack_file_schema(Settings, PROJECT))).validate(stack_file(stack, ROOT))


def test_each_app_s_stack_files_have_a_schema_of_their_own() -> None:
    validator = jsonschema.Draft7Validator(json.loads(stack_file_schema(Settings, "ledger")))
    validator.validate({"config": {f"ledger:{name}": section for name, section in sections("prod").items()}})
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"config": {f"invoicetron:{name}": section for name, section in sections("prod").items()}})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("database.size", "10 Gi"),
        ("secrets.postgresPassword", "hunter2"),
        ("app.image", "postgres:latest"),
        ("access.hostnam", "a.example.com"),
        ("registry.item", None),
        ("backup.retention.daily", 0),
        ("backup", {"enabled": True}),
    ],
)
def test_editors_find_the_mistakes_that_a_schema_can_find(path: str, value: object) -> None:
    config = {f"invoicetron:{name}": section for name, section in with_value("dev", path, value).items()}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(json.loads(stack_file_schema(Settings, PROJECT))).validate({"config": config})


@pytest.mark.parametrize(
    ("days", "warning"),
    [
        (1, "the deploy token expires on {day} (days left: 1)"),
        (13, "the deploy token expires on {day} (days left: 13)"),
        (14, None),
        (400, None),
        (401, "the deploy token is valid for 401 days"),
        (9000, "the deploy token is valid for 9000 days"),
    ],
)
@pytest.mark.usefixtures("pulumi_config")
def test_a_last_day_that_is_near_or_far_causes_a_warning(
    days: int, warning: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    hand_over("prod", {f"invoicetron:{name}": value for name, value in expiring(days).items()})
    load_from_pulumi()
    day = today() + dt.timedelta(days)
    assert (warning.format(day=day) in caplog.text) if warning else ("deploy token" not in caplog.text)


@pytest.mark.parametrize(("days", "warned"), [(1, True), (13, True), (14, False)])
@pytest.mark.usefixtures("pulumi_config")
def test_a_day_of_renewal_of_the_service_token_that_is_near_causes_a_warning(
    days: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    day = today() + dt.timedelta(days)
    token = {"item": "op://Kubernetes/Probe", "expires": day.isoformat()}
    config = with_value("prod", "access.public.serviceToken", token)
    hand_over("prod", {f"invoicetron:{name}": value for name, value in config.items()})
    load_from_pulumi()
    told = f"access.public.serviceToken.expires: the service token is to be renewed by {day} (days left: {days})"
    assert (told in caplog.text) is warned


@pytest.mark.parametrize("section", ["database", "backup", "monitoring", "delivery", "repository"])
def test_editors_accept_a_section_that_is_switched_off_but_no_key_without_a_value(section: str) -> None:
    validator = jsonschema.Draft7Validator(json.loads(stack_file_schema(Settings, PROJECT)))
    config = {f"invoicetron:{name}": value for name, value in sections("dev").items()}
    validator.validate({"config": {**config, f"invoicetron:{section}": {"enabled": False}}})
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"config": {**config, f"invoicetron:{section}": None}})


def test_editors_propose_no_key_without_a_value() -> None:
    assert "null" not in stack_file_schema(Settings, PROJECT)
