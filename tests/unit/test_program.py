"""The whole program, both stacks: what holds for every resource, and what the outputs tell the user."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pulumi
import pytest

from lookups.onepassword_client import AccountError
from policies import exposure, pods
from policies.rule import Resource, Rule
from tests.unit.answers import SECRETS
from tests.unit.program import REPOSITORY, Program, Registration, run

RULES = [*pods.RULES, *exposure.RULES]


def texts(value: Any) -> Iterator[str]:
    """Every text inside a value."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    else:
        yield str(value)


def public(registration: Registration) -> dict[str, Any]:
    """The inputs that are in the state in plain text."""
    return {name: value for name, value in registration.inputs.items() if name not in registration.secret_inputs}


def test_no_secret_is_an_input_that_the_state_would_show(program: Program) -> None:
    shown = [text for each in program.registrations for text in texts(public(each))]
    assert not [text for text in shown if any(secret in text for secret in SECRETS)]


def test_every_secret_is_in_some_input_so_that_the_search_for_them_means_something(program: Program) -> None:
    everything = "\n".join(text for each in program.registrations for text in texts(each.inputs))
    assert all(secret in everything for secret in SECRETS)


def test_no_secret_is_in_the_outputs(program: Program) -> None:
    assert not [text for text in texts(program.outputs) if any(secret in text for secret in SECRETS)]


def test_the_outputs_say_where_the_app_is_what_runs_and_how_to_follow_a_rollout(program: Program) -> None:
    namespace = f"invoicetron-{program.stack}"
    told = program.outputs
    assert told["namespace"] == namespace
    assert told["database_host"] == "invoicetron-db"
    assert told["image"].endswith(f"/invoicetron/{program.stack}:placeholder")
    assert told["follow_rollout"] == f"kubectl -n {namespace} rollout status deployment/invoicetron"


def test_every_resource_names_its_provider(program: Program) -> None:
    of_program = [each for each in program.registrations if each.custom and "pulumi:providers:" not in each.type]
    assert of_program
    assert not [each.urn for each in of_program if not each.request.provider]


def test_the_state_does_not_show_the_password_that_an_item_holds(prod: Program) -> None:
    items = prod.of("RegistryItem")
    assert items
    assert not [each.urn for each in items if "password" not in each.request.additionalSecretOutputs]


def test_only_backups_and_drills_start_by_themselves(program: Program) -> None:
    jobs = {each.inputs["metadata"]["name"]: each.inputs["spec"] for each in program.of("CronJob")}
    started = {name for name, spec in jobs.items() if not spec["suspend"]}
    assert started == {"invoicetron-db-backup", "invoicetron-db-drill"}
    assert set(jobs) - started == {"invoicetron-db-restore", "invoicetron-migrate"}


def test_every_kubernetes_object_bears_an_explicit_name_and_the_namespace_of_the_stack(program: Program) -> None:
    for each in program.registrations:
        if each.type.startswith("kubernetes:"):
            assert each.inputs["metadata"]["name"]
            # The one object in another namespace lets the shared tunnel's connector reach the app.
            elsewhere = {"invoicetron-cloudflared-egress": "cloudflare"}.get(each.name)
            if each.kind != "Namespace":
                assert each.inputs["metadata"]["namespace"] == (elsewhere or f"invoicetron-{program.stack}")


def test_edits_by_hand_are_reverted_in_every_object_but_the_apps_deployment(dev: Program) -> None:
    # With an NFS export, the backups have their own volume as well.
    export = run("prod", {"backup.nfs": {"server": "nas.example.com", "path": "/exports/invoicetron"}})
    assert export.of("PersistentVolume")
    objects = [each for each in dev.registrations + export.registrations if each.type.startswith("kubernetes:")]
    annotations = [(each.name, each.inputs["metadata"].get("annotations", {})) for each in objects]
    left = [name for name, given in annotations if given.get("pulumi.com/patchForce") != "true"]
    assert left == ["app", "app"]


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.each], ids=lambda rule: rule.name)
def test_every_resource_keeps_the_rules_of_the_policy_pack(program: Program, rule: Rule) -> None:
    assert rule.each is not None
    broken = [
        f"{each.urn}: {message}"
        for each in program.registrations
        for message in rule.each(
            Resource(type=each.type, urn=each.urn, inputs=each.inputs, protect=each.request.protect)
        )
    ]
    assert not broken


def test_a_destroy_asks_whether_the_namespace_can_be_deleted_before_it_deletes_anything(program: Program) -> None:
    (asking,) = program.of("NamespaceDeletion")
    others = {each.urn for each in program.registrations if each.custom and ":providers:" not in each.type}
    assert program.waits_for(asking) == others - {asking.urn}
    (namespace,) = program.of("Namespace")
    assert asking.request.protect == namespace.request.protect, "a destroy without a preview would delete the rest"


def test_of_the_sdks_only_what_is_used_is_loaded() -> None:
    everywhere = (
        *("pulumi_gitlab.project.", "pulumi_gitlab.group.", "gitlab.v4."),
        *("kubernetes.client.api.", "kubernetes.client.models.v1"),
    )
    # Both in one process, because its start takes longest: dev first, which uses nothing of Cloudflare.
    unused = {
        "dev": (*everywhere, "pulumi_cloudflare."),
        "prod": (*everywhere, "pulumi_cloudflare._inputs", "pulumi_cloudflare.outputs"),
    }
    script = (
        "import sys; from tests.unit.program import run\n"
        f"for stack, unused in {unused}.items():\n"
        "    run(stack)\n"
        "    print(stack, [name for name in sys.modules if f'{name}.'.startswith(unused) and '.' in name])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "dev []\nprod []\n"


def test_one_run_reports_what_every_system_lacks() -> None:
    with pytest.raises(pulumi.RunError) as refused:
        run(
            "prod",
            {"access.gateway.listener": "web", "database.storageClass": "fast"},
            values={"postgres-password": "not safe in a URL"},
            gitlab={"getMetadata": {"version": "16.0.0"}},
            there={"storageclasses": None},
        )
    message = str(refused.value)
    assert "correct access.gateway.listener" in message
    assert "GitLab cannot do what the stack file asks for" in message
    assert "the password is not URL-safe" in message
    assert "database.storageClass is 'fast'" in message


def test_a_look_up_that_needs_a_failed_one_adds_no_message_of_its_own() -> None:
    with pytest.raises(pulumi.RunError) as refused:
        run("prod", gitlab={"getMetadata": {"version": "16.0.0"}})
    assert str(refused.value).count("Nothing was created or changed.") == 1


def test_items_that_only_the_plugin_could_reach_stop_the_run_before_the_first_resource() -> None:
    with pytest.raises(pulumi.RunError, match=r"(?s)does not get through to it.*Nothing was created.*ConnectError"):
        run("dev", unreached=AccountError("https://connect.lan does not answer: ConnectError"))
