"""The app: the pipeline owns its image, its secrets roll it, and migrations are described once."""

from __future__ import annotations

from typing import Any

from settings.app import OWN_VARIABLES
from tests.unit.program import Program, run

IMAGE_PATH = "spec.template.spec.containers[0].image"


def pod(program: Program) -> dict[str, Any]:
    """The app's pod."""
    found: dict[str, Any] = program.one("Deployment").inputs["spec"]["template"]
    return found


def migration(program: Program) -> dict[str, Any]:
    """The template of the migration Jobs."""
    found: dict[str, Any] = program.one("CronJob", "invoicetron-migrate").inputs["spec"]
    return found


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
    # Everything else that is changed by hand is changed back; here an up that missed the pipeline's image must stop.
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
    assert f"nc -z {host} 5432" in waiter["command"][-1]
    assert f"@{host}:5432/" in program.one("Secret", "invoicetron-app").inputs["stringData"]["database-url"]


def test_a_variable_of_the_stack_file_reaches_the_app_beside_the_programs_own() -> None:
    program = run("dev", {"app.environment": {"LOG_LEVEL": "debug"}})
    given = variables(pod(program)["spec"]["containers"][0])
    assert given["LOG_LEVEL"]["value"] == "debug"
    assert set(OWN_VARIABLES) == set(given) - {"LOG_LEVEL"}
