"""The app: the pipeline owns its image, a changed secret rolls it, and migrations are defined once."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pulumi.runtime import MockResourceArgs

from settings.app import OWN_VARIABLES
from tests.unit.answers import Answers
from tests.unit.program import Program, run

STRIPE = {"app.secrets": {"STRIPE_KEY": "op://Kubernetes/Invoicetron Dev/stripe-key"}}
IMAGE_PATH = "spec.template.spec.containers[0].image"


def pod(program: Program) -> dict[str, Any]:
    """The app's pod."""
    found: dict[str, Any] = program.one("Deployment").inputs["spec"]["template"]
    return found


def migration(program: Program) -> dict[str, Any]:
    """The template of the migration Jobs."""
    found: dict[str, Any] = program.one("CronJob", "invoicetron-migrate").inputs["spec"]
    return found


def container_of(program: Program) -> dict[str, Any]:
    """The app's container."""
    (container,) = pod(program)["spec"]["containers"]
    return dict(container)


def migrating(program: Program) -> dict[str, Any]:
    """The container of the migration Jobs."""
    (container,) = migration(program)["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return dict(container)


def variables(container: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The environment of a container, by name."""
    return {each["name"]: each for each in container["env"]}


def test_the_image_is_left_to_the_pipeline_and_no_update_waits_for_it(program: Program) -> None:
    deployment = program.one("Deployment")
    assert list(deployment.request.ignoreChanges) == [IMAGE_PATH]
    service = program.one("Service", "invoicetron").inputs
    for inputs in (deployment.inputs, service):
        annotations = inputs["metadata"]["annotations"]
        assert annotations["pulumi.com/skipAwait"] == "true"
    # `up` reverts every other manual change; here, an `up` that missed the pipeline's image must stop.
    assert deployment.inputs["metadata"]["annotations"]["pulumi.com/patchForce"] == "false"
    assert service["metadata"]["annotations"]["pulumi.com/patchForce"] == "true"


def test_the_container_whose_image_is_ignored_is_the_one_that_the_pipeline_names(program: Program) -> None:
    assert pod(program)["spec"]["containers"][0]["name"] == "invoicetron"


def test_a_rollout_never_leaves_fewer_pods_than_there_were(program: Program) -> None:
    strategy = program.one("Deployment").inputs["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_a_changed_secret_rolls_the_pods_and_changes_nothing_else_in_them(dev: Program) -> None:
    for value in ({"postgres-password": "another-password"}, {"better-auth-secret": "z" * 40}):
        rotated = run("dev", values=value)
        assert pod(rotated)["metadata"]["annotations"] != pod(dev)["metadata"]["annotations"]
        assert pod(rotated)["spec"] == pod(dev)["spec"]


def test_the_app_waits_until_the_database_is_ready_and_its_secrets_exist(program: Program) -> None:
    before = program.waits_for(program.one("Deployment"))
    needed = [
        program.one("StatefulSet"),
        *(program.one("Secret", name) for name in ("invoicetron-app", "gitlab-registry")),
    ]
    assert {each.urn for each in needed} <= before


def test_logins_are_taken_from_every_hostname_of_the_stack(dev: Program, prod: Program) -> None:
    for program, origins in (
        (dev, ["https://invoicetron.dev.k8s.rommelporras.com"]),
        (prod, ["https://invoicetron.k8s.rommelporras.com", "https://invoicetron.rommelporras.com"]),
    ):
        trusted = variables(pod(program)["spec"]["containers"][0])["ADDITIONAL_TRUSTED_ORIGINS"]["value"]
        assert trusted.split(",") == origins


def test_the_public_url_is_left_to_the_build_of_the_image(program: Program) -> None:
    assert "NEXT_PUBLIC_APP_URL" not in variables(pod(program)["spec"]["containers"][0])


def test_app_and_migration_read_the_database_url_from_the_same_key(program: Program) -> None:
    (migrate,) = migration(program)["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    of_app = variables(pod(program)["spec"]["containers"][0])["DATABASE_URL"]
    assert variables(migrate)["DATABASE_URL"] == of_app
    reference = of_app["valueFrom"]["secretKeyRef"]
    assert reference["key"] in program.one("Secret", reference["name"]).inputs["stringData"]


def test_a_migration_sees_no_other_secret_than_the_database_url(program: Program) -> None:
    (migrate,) = migration(program)["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert set(variables(migrate)) == {"DATABASE_URL"}


def test_migrations_run_only_when_the_pipeline_makes_a_job_of_them(program: Program) -> None:
    assert migration(program)["suspend"] is True
    assert migration(program)["schedule"] == "0 0 31 2 *", "a day that never comes"


def test_a_migration_that_hangs_or_fails_comes_to_an_end(program: Program) -> None:
    job = migration(program)["jobTemplate"]["spec"]
    assert 0 < job["activeDeadlineSeconds"] <= 600
    assert job["backoffLimit"] <= 2
    assert job["template"]["spec"]["restartPolicy"] == "Never"


def test_app_and_migration_are_pulled_with_the_same_credentials(program: Program) -> None:
    of_migration = migration(program)["jobTemplate"]["spec"]["template"]["spec"]
    assert of_migration["imagePullSecrets"] == pod(program)["spec"]["imagePullSecrets"]
    assert of_migration["containers"][0]["image"] == pod(program)["spec"]["containers"][0]["image"]


def test_requests_reach_the_app_and_never_a_migration(program: Program) -> None:
    selector = program.one("Service", "invoicetron").inputs["spec"]["selector"]
    selected = [owner.kind for owner, each in program.pods() if selector.items() <= each["metadata"]["labels"].items()]
    assert selected == ["Deployment"]


def test_the_app_starts_only_once_the_database_that_its_url_names_answers(program: Program) -> None:
    (waiter,) = pod(program)["spec"]["initContainers"]
    host = program.one("StatefulSet").inputs["spec"]["serviceName"]
    assert f"nc -z -w 2 {host} 5432" in waiter["command"][-1]
    assert f"@{host}:5432/" in program.one("Secret", "invoicetron-app").inputs["stringData"]["database-url"]


def test_a_variable_of_the_stack_file_reaches_app_and_migration_beside_the_programs_own() -> None:
    program = run("dev", {"app.environment": {"LOG_LEVEL": "debug"}})
    for container, own in ((container_of(program), set(OWN_VARIABLES)), (migrating(program), {"DATABASE_URL"})):
        given = variables(container)
        assert given["LOG_LEVEL"]["value"] == "debug"
        assert own == set(given) - {"LOG_LEVEL"}


def as_the_kubelet_passes_it(text: str) -> str:
    """`$(NAME)` is the value of a variable that is set before, and `$$` a dollar (kubernetes/third_party/expansion)."""
    known = {"DATABASE_URL": "postgresql://invoicetron:password@db", "A": "before"}
    return re.sub(r"\$(\$|\(([^)]*)\))", lambda found: "$" if found[1] == "$" else known.get(found[2], found[0]), text)


@pytest.mark.parametrize("text", ["$$", "a$(A)b", "$(DATABASE_URL)", "$$(A)", "$(UNKNOWN)", "$5", "cost: $", "plain"])
def test_a_variable_of_the_stack_file_arrives_with_every_dollar_in_it(text: str) -> None:
    program = run("dev", {"app.environment": {"A": "before", "PRICE": text}})
    for container in (container_of(program), migrating(program)):
        assert as_the_kubelet_passes_it(variables(container)["PRICE"]["value"]) == text


def test_a_secret_of_the_stack_file_reaches_app_and_migration_by_the_apps_secret_and_never_in_plain() -> None:
    key = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
    program = run("dev", STRIPE, values={"stripe-key": key})
    secret = program.one("Secret", "invoicetron-app")
    assert secret.inputs["stringData"]["STRIPE_KEY"] == key
    assert "stringData" in secret.secret_inputs
    for container in (container_of(program), migrating(program)):
        assert variables(container)["STRIPE_KEY"] == {
            "name": "STRIPE_KEY",
            "valueFrom": {"secretKeyRef": {"name": "invoicetron-app", "key": "STRIPE_KEY"}},
        }
    assert not [each.urn for each in program.registrations if each is not secret and key in str(each.inputs)]


def test_a_rotated_secret_of_the_stack_file_rolls_the_app_and_not_the_database() -> None:
    before, after = (run("dev", STRIPE, values={"stripe-key": value}) for value in ("one-key", "another-key"))
    assert pod(before)["metadata"]["annotations"] != pod(after)["metadata"]["annotations"]
    database = [each.one("StatefulSet").inputs["spec"]["template"] for each in (before, after)]
    assert database[0] == database[1]


def test_a_preview_that_still_finds_the_old_port_at_the_service_shows_the_new_one_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a dry run, server-side apply lists a port that the provider once created before the port that replaces it."""
    answer = Answers.new_resource

    def with_the_old_port(self: Answers, args: MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        id_, outputs = answer(self, args)
        if args.name == "app-service":
            ports = outputs["spec"]["ports"]
            outputs["spec"] = {**outputs["spec"], "ports": [{**ports[0], "port": 3000}, *ports]}
        return id_, outputs

    monkeypatch.setattr(Answers, "new_resource", with_the_old_port)
    program = run("prod", {"app.port": 8080})
    assert "3000" not in str([each.inputs for each in program.registrations])


def test_a_stack_file_without_secrets_of_the_app_changes_no_checksum(dev: Program) -> None:
    assert pod(run("dev", {"app.secrets": {}})) == pod(dev)


def test_port_path_and_user_of_the_image_apply_everywhere() -> None:
    program = run("prod", {"app.port": 8080, "app.healthPath": "/up", "app.user": 10001})
    container = container_of(program)
    assert [each["containerPort"] for each in container["ports"]] == [8080]
    assert {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")} == {"/up"}
    for template in (pod(program), migration(program)["jobTemplate"]["spec"]["template"]):
        assert template["spec"]["securityContext"]["runAsUser"] == 10001
        assert template["spec"]["securityContext"]["runAsGroup"] == 10001
    service = program.one("Service", "invoicetron").inputs["spec"]
    (named,) = {each["name"] for each in (*container["ports"], *service["ports"])}
    assert {each["targetPort"] for each in service["ports"]} == {named}
    assert {container[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "readiness", "liveness")} == {named}
    (route,) = program.one("HTTPRoute").inputs["spec"]["rules"]
    assert {each["port"] for each in (*service["ports"], *route["backendRefs"])} == {8080}
    (targets,) = (each["spec"]["targets"] for each in [program.one("Probe").inputs])
    assert targets["staticConfig"]["static"] == ["https://invoicetron.k8s.rommelporras.com/up"]
    # Everything else that names a port or a path of the app: network policies, the tunnel's rule, CI variables.
    everything = str([each.inputs for each in program.registrations])
    assert "3000" not in everything
    assert "/api/health" not in everything


def test_migrations_run_the_command_of_the_stack_file() -> None:
    command = ["python", "manage.py", "migrate"]
    assert migrating(run("dev", {"app.migration": {"command": command}}))["command"] == command
