"""What in a hand-made pod template cannot stay, and the JSON patch that removes it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from ops.adopt.blockers import Blocker, kubernetes_blockers
from ops.adopt.pod_template import Secrets, faults

PASSWORD = "hunter2hunter2"
URL = f"postgresql://shop:{PASSWORD}@db:5432/shop"
REFERENCE = {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "shop", "key": "database-url"}}}
WANTED: Any = {
    "containers": [
        {
            "name": "shop",
            "command": ["serve"],
            "env": [REFERENCE, {"name": "MODE", "value": "production"}],
            "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
        }
    ],
    "volumes": [{"name": "cache", "emptyDir": {}}],
}


def applied(spec: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """The pod spec after a JSON patch (RFC 6902) of the operations in use."""
    spec = copy.deepcopy(spec)
    for operation in operations:
        *parents, last = operation["path"].lstrip("/").split("/")
        holder: Any = spec
        for each in parents:
            holder = holder[int(each)] if isinstance(holder, list) else holder[each]
        key: Any = int(last) if isinstance(holder, list) and last != "-" else last
        match operation["op"]:
            case "test":
                assert holder[key] == operation["value"], operation
            case "remove":
                del holder[key]
            case "replace":
                assert holder[key] is not None
                holder[key] = operation["value"]
            case "add" if last == "-":
                holder.append(operation["value"])
            case "add":
                holder[key] = operation["value"]
    return spec


def relieved(container: dict[str, Any], *, config_maps: Any = None, **more: Any) -> tuple[dict[str, Any], str]:
    """The container after the patch, and what was reported."""
    section = more.pop("section", "containers")
    live = {section: [{"name": "shop", **container}], **more}
    found = faults(live, WANTED, Secrets(), config_maps or {})
    operations = [operation for fault in found for operation in fault.operations]
    assert PASSWORD not in json.dumps(operations)
    return applied(live, operations)[section][0], "; ".join(fault.where for fault in found)


def test_a_plain_variable_gives_way_to_the_program_s_own() -> None:
    container, said = relieved(
        {"env": [{"name": "MODE", "value": "production"}, {"name": "DATABASE_URL", "value": URL}]}
    )
    assert container["env"] == [{"name": "MODE", "value": "production"}, REFERENCE]
    assert "DATABASE_URL of container shop" in said


@pytest.mark.parametrize("name", ["PGPASSWORD", "DB_PASS", "BETTER_AUTH_SECRET", "PRIMARY", "AUTH_KEY"])
@pytest.mark.parametrize("section", ["containers", "initContainers"])
def test_a_secret_that_the_program_does_not_know_is_removed_wherever_it_is(name: str, section: str) -> None:
    secret = {"name": name, "value": URL if name == "PRIMARY" else PASSWORD}
    env = [{"name": "FIRST", "value": "1"}, secret, {"name": "LAST", "value": "2"}, {**secret, "name": f"X_{name}"}]
    container, said = relieved({"env": env}, section=section)
    assert [one["name"] for one in container["env"]] == ["FIRST", "LAST"]
    assert name in said


@pytest.mark.parametrize(
    "words",
    [
        ["sh", "-c", f"PGPASSWORD={PASSWORD} pg_dump shop"],
        ["psql", URL],
        ["dump", "--password", PASSWORD],
        ["dump", f"--password={PASSWORD}"],
    ],
)
def test_a_password_in_a_command_gives_way_to_the_program_s_command(words: list[str]) -> None:
    container, said = relieved({"command": words[:1], "args": words[1:]})
    assert container == {"name": "shop", "command": ["serve"]}
    assert "the command of container shop" in said


@pytest.mark.parametrize(
    "words",
    [
        ["sh", "-c", 'PGPASSWORD="$POSTGRES_PASSWORD" pg_dump shop'],
        ["psql", "postgresql://shop:$(PASSWORD)@db/shop"],
        ["dump", "--password-file=/run/secret"],
        ["sh", "-c", "until nc -z db 5432; do sleep 2; done"],
    ],
)
def test_a_command_that_takes_its_password_from_elsewhere_stays(words: list[str]) -> None:
    assert relieved({"command": words, "env": [{"name": "URL", "value": "https://shop.example"}]})[1] == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_PASSWORD", f"${PASSWORD}"),
        ("DATABASE_PASSWORD", "$"),
        ("PRIMARY", "postgresql://shop:pa$$word@db:5432/shop"),
        ("PRIMARY", f"$(SCHEME)postgresql://shop:{PASSWORD}@db/shop"),
        ("KEY_ID", "AKIAABCDEFGHIJKLMNOP"),
        ("PAYMENTS", f"sk_live_{'a1' * 12}"),
        ("PASS", PASSWORD),
        ("DBPASS", PASSWORD),
        ("COOKIE_KEY", PASSWORD),
    ],
)
def test_neither_a_dollar_sign_nor_a_name_hides_a_secret(name: str, value: str) -> None:
    container, said = relieved({"env": [{"name": "A", "value": "1"}, {"name": name, "value": value}]})
    assert container["env"] == [{"name": "A", "value": "1"}]
    assert name in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_PASSWORD", "$(POSTGRES_PASSWORD)"),
        ("DATABASE_PASSWORD", ""),
        ("PRIMARY", "postgresql://$(USER):$(PASSWORD)@db/shop"),
        ("COMPASS", "north"),
        ("KEYBOARD", "us"),
    ],
)
def test_a_reference_to_another_variable_is_no_secret(name: str, value: str) -> None:
    assert relieved({"env": [{"name": name, "value": value}]})[1] == ""


@pytest.mark.parametrize(
    "handler",
    [
        {"exec": {"command": ["psql", URL, "-c", "select 1"]}},
        {"exec": {"command": ["sh", "-c", f"PGPASSWORD={PASSWORD} pg_isready"]}},
        {"httpGet": {"path": "/", "httpHeaders": [{"name": "Authorization", "value": f"Bearer {PASSWORD}"}]}},
        {"httpGet": {"path": "/", "httpHeaders": [{"name": "X-Api-Key", "value": PASSWORD}]}},
    ],
)
@pytest.mark.parametrize("place", ["livenessProbe", "startupProbe", "postStart"])
def test_a_probe_or_hook_with_a_secret_gives_way(place: str, handler: dict[str, Any]) -> None:
    live = {"lifecycle": {place: handler}} if place == "postStart" else {place: handler}
    container, said = relieved(live)
    own = WANTED["containers"][0].get(place)
    assert (container.get("lifecycle") or container).get(place) == own
    assert f"the {place} of container shop" in said


def test_a_config_map_with_a_secret_gives_way_to_the_program_s_variables() -> None:
    source = [{"configMapRef": {"name": "settings"}}, {"configMapRef": {"name": "harmless"}}]
    config_maps = {"settings": {"DATABASE_URL": URL, "MODE": "x"}, "harmless": {"MODE": "x"}}
    for env in ([], [{"name": "MODE", "value": "x"}]):
        container, said = relieved({"envFrom": source, **({"env": env} if env else {})}, config_maps=config_maps)
        assert container["envFrom"] == source[1:]
        assert container["env"] == [*env, REFERENCE]
        assert "ConfigMap settings" in said


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("livenessProbe", {"tcpSocket": {"port": 80}}),
        ("env", [{"name": "DATABASE_URL", "valueFrom": {"configMapKeyRef": {"name": "it", "key": "url"}}}]),
        ("env", [{"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "it", "key": "mode"}}}]),
    ],
)
def test_a_field_that_excludes_the_program_s_is_replaced_by_it(field: str, value: Any) -> None:
    container, said = relieved({field: value})
    wanted: Any = WANTED["containers"][0][field]
    assert container[field] == wanted or container[field][0] in wanted
    assert said


def test_the_first_container_is_the_apps_whatever_its_name() -> None:
    """`up` keeps its image. Without the variable, the pods that the patch starts would not become ready."""
    live = {"containers": [{"name": "web", "env": [{"name": "DATABASE_URL", "value": URL}]}, {"name": "proxy"}]}
    (fault,) = faults(live, WANTED, Secrets(), {})
    assert applied(live, list(fault.operations))["containers"][0]["env"] == [REFERENCE]


PAUSED: Any = {"containers": [{"name": "shop", "lifecycle": {"preStop": {"sleep": {"seconds": 10}}}}]}


def test_a_grace_period_shorter_than_the_programs_pause_goes() -> None:
    live = {"containers": [{"name": "shop"}], "terminationGracePeriodSeconds": 5}
    (fault,) = faults(live, PAUSED, Secrets(), {})
    assert "terminationGracePeriodSeconds" in fault.where
    assert "terminationGracePeriodSeconds" not in applied(live, list(fault.operations))
    assert not faults({**live, "terminationGracePeriodSeconds": 30}, PAUSED, Secrets(), {})
    assert not faults(live, WANTED, Secrets(), {})


@pytest.mark.parametrize("granted", [{"privileged": True}, {"capabilities": {"add": ["SYS_ADMIN"]}}])
def test_rights_that_exclude_the_programs_restriction_go(granted: dict[str, Any]) -> None:
    own = {"allowPrivilegeEscalation": False}
    wanted = {"containers": [{"name": "shop", "securityContext": own}]}
    live = {"containers": [{"name": "shop", "securityContext": granted}]}
    (fault,) = faults(live, wanted, Secrets(), {})
    assert applied(live, list(fault.operations))["containers"][0]["securityContext"] == own
    harmless = {"containers": [{"name": "shop", "securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}}}]}
    assert not faults(harmless, wanted, Secrets(), {})


def test_a_volume_of_another_kind_is_replaced() -> None:
    live = {"containers": [], "volumes": [{"name": "cache", "hostPath": {"path": "/x"}}]}
    (fault,) = faults(live, WANTED, Secrets(), {})
    assert applied(live, list(fault.operations))["volumes"] == WANTED["volumes"]


def test_fields_that_the_program_would_set_the_same_stay() -> None:
    container = copy.deepcopy(WANTED["containers"][0])
    assert relieved({**container, "image": "shop:1"})[1] == ""


def test_a_secrets_value_is_found_under_any_name() -> None:
    live = {"containers": [{"name": "shop", "env": [{"name": "GREETING", "value": f"hello {PASSWORD}"}]}]}
    assert not faults(live, WANTED, Secrets(), {})
    assert faults(live, WANTED, Secrets(values=[PASSWORD]), {})


def blockers(kind: str, **spec: Any) -> list[Blocker]:
    pod = {"spec": {"containers": [{"name": "shop", "env": [{"name": "DATABASE_URL", "value": URL}]}]}}
    template = {"jobTemplate": {"spec": {"template": pod}}} if kind == "CronJob" else {"template": pod}
    own = {"spec": WANTED}
    wanted = {"jobTemplate": {"spec": {"template": own}}} if kind == "CronJob" else {"template": own}
    annotation = "kubectl.kubernetes.io/last-applied-configuration"
    managers = [{"manager": "kubectl-client-side-apply", "operation": "Update"}]
    metadata = {"name": "it", "namespace": "shop", "annotations": {annotation: URL}, "managedFields": managers}
    live = {"kind": kind, "metadata": metadata, "spec": {**spec, **template}}
    inputs = {"metadata": {"annotations": {"pulumi.com/patchForce": "false"}}, "spec": {**spec, **wanted}}
    return list(kubernetes_blockers(live, inputs))


def test_a_deployment_is_cleaned_and_handed_over_in_one_command() -> None:
    (blocker,) = blockers("Deployment")
    assert blocker.imported
    assert PASSWORD not in blocker.remedy
    assert "DATABASE_URL" in blocker.why
    for part in ("--field-manager=pulumi-kubernetes", "last-applied-configuration", "managedFields/0", "secretKeyRef"):
        assert part in blocker.remedy


@pytest.mark.parametrize(("kind", "remedy"), [("CronJob", "cronjob it"), ("StatefulSet", "it --cascade=orphan")])
def test_objects_that_the_program_recreates_are_not_imported(kind: str, remedy: str) -> None:
    (blocker,) = blockers(kind)
    assert blocker.remedy.endswith(remedy)
    assert not blocker.imported


def test_a_config_map_with_a_secret_is_deleted_and_not_imported() -> None:
    live = {"kind": "ConfigMap", "metadata": {"name": "it", "namespace": "shop"}, "data": {"PASSWORD": PASSWORD}}
    (blocker,) = kubernetes_blockers(live, {"metadata": {}})
    assert blocker.remedy == "kubectl -n shop delete configmap it"
    assert not blocker.imported
