"""The database: its volume outlives everything, its password follows the Secret, and nothing waits for it in vain."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.answers import PASSWORD
from tests.unit.program import Program, run


def container(program: Program) -> dict[str, Any]:
    """The server's container."""
    (found,) = program.one("StatefulSet").inputs["spec"]["template"]["spec"]["containers"]
    result: dict[str, Any] = found
    return result


def restart_marks(program: Program) -> Any:
    """The annotations whose change restarts the pod."""
    return program.one("StatefulSet").inputs["spec"]["template"]["metadata"]["annotations"]


def test_the_volume_is_a_separate_claim_with_the_name_that_a_claim_template_would_give(
    program: Program,
) -> None:
    stateful_set = program.one("StatefulSet").inputs
    assert "volumeClaimTemplates" not in stateful_set["spec"]
    (volume,) = [
        each["persistentVolumeClaim"]
        for each in stateful_set["spec"]["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in each
    ]
    expected = f"data-{stateful_set['metadata']['name']}-0"
    assert volume["claimName"] == expected
    assert program.one("PersistentVolumeClaim", expected)


def test_the_volumes_join_longhorn_s_groups_of_recurring_jobs_where_the_settings_name_some(dev: Program) -> None:
    def longhorn(program: Program) -> dict[str, dict[str, str]]:
        claims = {
            each.inputs["metadata"]["name"]: each.inputs["metadata"] for each in program.of("PersistentVolumeClaim")
        }
        return {
            name: {key: value for key, value in each["labels"].items() if "longhorn.io" in key}
            for name, each in claims.items()
        }

    assert set(map(len, longhorn(dev).values())) == {0}
    groups = {"database.recurringJobGroups": ["critical", "daily"], "backup.recurringJobGroups": ["weekly"]}
    source = {"recurring-job.longhorn.io/source": "enabled"}
    group = "recurring-job-group.longhorn.io"
    assert longhorn(run("dev", groups)) == {
        "data-invoicetron-db-0": {**source, f"{group}/critical": "enabled", f"{group}/daily": "enabled"},
        "invoicetron-backups": {**source, f"{group}/weekly": "enabled"},
    }


def test_a_larger_volume_changes_the_claim_and_leaves_the_server_alone(dev: Program) -> None:
    larger = run("dev", {"database.size": "20Gi"})
    name = "data-invoicetron-db-0"
    assert larger.one("PersistentVolumeClaim", name).inputs["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert larger.one("StatefulSet").inputs == dev.one("StatefulSet").inputs


def test_prod_protects_server_and_volumes_and_keeps_the_volumes_and_dev_does_not(dev: Program, prod: Program) -> None:
    for program, kept in ((prod, True), (dev, False)):
        assert program.one("StatefulSet").request.protect is kept
        for name in ("data-invoicetron-db-0", "invoicetron-backups"):
            claim = program.one("PersistentVolumeClaim", name).request
            assert (claim.protect, claim.retainOnDelete) == (kept, kept)


def test_a_new_password_restarts_the_server_and_reaches_it_through_the_secret(dev: Program) -> None:
    rotated = run("dev", values={"postgres-password": "another-password"})
    assert restart_marks(rotated) != restart_marks(dev)
    secret = rotated.one("Secret", "invoicetron-db").inputs
    assert secret["stringData"] == {"postgres-password": "another-password"}
    variables = {each["name"]: each for each in container(rotated)["env"]}
    assert variables["POSTGRES_PASSWORD"]["valueFrom"]["secretKeyRef"] == {
        "name": secret["metadata"]["name"],
        "key": "postgres-password",
    }


def test_the_annotation_that_restarts_the_server_does_not_confirm_a_guessed_password(dev: Program) -> None:
    other_key = run("dev", values={"better-auth-secret": "another-better-auth-secret-0123456789"})
    assert PASSWORD not in str(restart_marks(dev))
    assert restart_marks(other_key) != restart_marks(dev), "a plain hash of the password would be the same"


def test_the_server_gets_all_the_time_that_its_shutdown_may_take_before_it_is_killed(program: Program) -> None:
    command = container(program)["lifecycle"]["preStop"]["exec"]["command"]
    (limit,) = [int(word.partition("=")[2]) for word in command if word.startswith("--timeout=")]
    assert limit < program.one("StatefulSet").inputs["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert "--mode=fast" in command


def test_the_kubelet_gives_crash_recovery_as_long_as_the_password_script_waits(
    program: Program,
) -> None:
    probe = container(program)["startupProbe"]
    script = container(program)["lifecycle"]["postStart"]["exec"]["command"][2]
    assert f"PATIENCE:-{probe['periodSeconds'] * probe['failureThreshold']}" in script


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe", "livenessProbe"])
def test_no_probe_takes_the_temporary_server_of_an_initialisation_for_the_real_one(
    program: Program, probe: str
) -> None:
    assert "--host=localhost" in container(program)[probe]["exec"]["command"]


def test_everything_that_the_server_writes_to_is_a_volume_and_the_rest_is_read_only(program: Program) -> None:
    assert container(program)["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["mountPath"] for mount in container(program)["volumeMounts"]} == {
        "/var/lib/postgresql",
        "/var/run/postgresql",
        "/dev/shm",  # noqa: S108 - the container's own
        "/tmp",  # noqa: S108 - the container's own
    }


def test_the_volume_belongs_to_the_user_that_the_server_runs_as(program: Program) -> None:
    security = program.one("StatefulSet").inputs["spec"]["template"]["spec"]["securityContext"]
    assert security["runAsUser"] == security["runAsGroup"] == security["fsGroup"] == 70


def test_the_service_gives_the_pod_its_name_and_selects_it_alone(program: Program) -> None:
    stateful_set = program.one("StatefulSet").inputs["spec"]
    service = program.one("Service", stateful_set["serviceName"]).inputs["spec"]
    assert service["clusterIP"] == "None"
    selected = [
        owner.kind for owner, pod in program.pods() if service["selector"].items() <= pod["metadata"]["labels"].items()
    ]
    assert selected == ["StatefulSet"]
