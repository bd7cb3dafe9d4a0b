"""Whether the program's pod would find the data on a volume made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ops.adopt.data_folder import claims, elsewhere, on_another_volume, writes_beside
from tests.stacks import DEV

IMAGE = "postgres:18-alpine"
VARIABLES = {"POSTGRES_USER": "invoicetron", "POSTGRES_DB": "invoicetron"}
FOLDER = "/var/lib/postgresql/18/docker"


def pod(*, image: str = IMAGE, mount: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    variables = VARIABLES | more.pop("variables", {})
    env = [{"name": name, "value": value} for name, value in variables.items() if value is not None]
    mounts = [{"name": "data", "mountPath": "/var/lib/postgresql", **(mount or {})}]
    sidecar = {"name": "exporter", "image": "exporter:1"}
    return {"containers": [sidecar, {"image": image, "volumeMounts": mounts, "env": env, **more}]}


def told(spec: dict[str, Any], *, secrets: Any = None, **config_maps: Any) -> str:
    kept = {"config_maps": config_maps, "secrets": secrets or {}}
    return "; ".join(elsewhere(spec, "data", names=DEV, image=IMAGE, **kept))


@pytest.mark.parametrize(
    "spec",
    [
        pod(),
        pod(mount={"mountPath": "/var/lib/postgresql/"}),
        pod(variables={"PGDATA": FOLDER}),
        pod(image="registry.shop.example/library/postgres:18.1-alpine3.22@sha256:" + "0" * 64),
        pod(variables={"POSTGRES_DB": None}),
        pod(securityContext={"runAsUser": 70}),
        pod(variables={"POSTGRES_USER": None, "POSTGRES_DB": None}, envFrom=[{"secretRef": {"name": "it"}}]),
    ],
)
def test_data_where_the_program_looks_is_accepted(spec: dict[str, Any]) -> None:
    assert not told(spec)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (pod(mount={"mountPath": "/var/lib/postgresql/data"}), "mounted at /var/lib/postgresql/data"),
        (pod(mount={"subPath": "pg"}), "subPath pg"),
        (pod(mount={"subPathExpr": "$(X)"}), "subPath"),
        (pod(variables={"PGDATA": "/var/lib/postgresql/pgdata"}), "PGDATA is /var/lib/postgresql/pgdata"),
        (pod(variables={"POSTGRES_INITDB_WALDIR": "/wal"}), "WALDIR"),
        (pod(image="postgres:17-alpine"), "of PostgreSQL 17"),
        (pod(image="postgres"), "names no version"),
        (pod(image="postgres:alpine"), "names no version"),
        (pod(image="postgres:18"), "sorts text by glibc"),
        (pod(image="bitnami/postgresql:18"), "the image is bitnami/postgresql:18"),
        (pod(args=["-c", "data_directory=/x"]), "names a data directory"),
        (pod(command=["postgres", "-D", "/x"]), "names a data directory"),
        (pod(variables={"POSTGRES_USER": None}), "its role is postgres"),
        (pod(variables={"POSTGRES_DB": "shop"}), "its database is shop"),
        (pod(securityContext={"runAsUser": 999}), "user 999"),
    ],
)
def test_data_that_the_program_would_not_find_or_could_not_serve_is_reported(spec: dict[str, Any], said: str) -> None:
    assert said in told(spec)


def test_data_that_older_images_keep_elsewhere_is_not_found() -> None:
    old = "postgres:17-alpine"
    said = elsewhere(pod(image=old), "data", names=DEV, image=old, config_maps={}, secrets={})
    assert "PGDATA is not set" in "; ".join(said)


def test_a_config_map_may_say_where_the_data_is() -> None:
    assert "PGDATA" in told(pod(envFrom=[{"configMapRef": {"name": "it"}}]), it={"PGDATA": "/elsewhere"})


def from_key(name: str, kind: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {f"{kind}KeyRef": {"name": "it", "key": key}}}


@pytest.mark.parametrize("kind", ["configMap", "secret"])
def test_role_and_folder_are_read_from_config_maps_and_secrets(kind: str) -> None:
    """Tutorials keep user, database and password together, in one ConfigMap or Secret."""
    values = {"it": {"user": "shop", "folder": FOLDER, "POSTGRES_USER": "shop", "POSTGRES_DB": "invoicetron"}}
    kept: dict[str, Any] = {"secrets": values} if kind == "secret" else values
    other = "another" if kind == "secret" else "shop"
    by_key = [from_key("POSTGRES_USER", kind, "user"), {"name": "POSTGRES_DB", "value": "invoicetron"}]
    assert told(pod(env=by_key), **kept) == f"its role is {other}, not invoicetron"
    whole = pod(env=[], envFrom=[{f"{kind}Ref": {"name": "it"}}])
    assert told(whole, **kept) == f"its role is {other}, not invoicetron"
    folder = [
        *({"name": name, "value": value} for name, value in VARIABLES.items()),
        from_key("PGDATA", kind, "folder"),
    ]
    assert not told(pod(env=folder), **kept)
    assert "PGDATA is set from elsewhere" in told(pod(env=[from_key("PGDATA", kind, "missing")]), **kept)


def workload(name: str, kind: str, *volumes: dict[str, Any], mount: str = "/var/lib/postgresql", **more: Any) -> Any:
    mounts = [{"name": one["name"], "mountPath": mount} for one in (*volumes, *more.get("made", ()))]
    spec = {"containers": [{"name": "it", "image": IMAGE, "volumeMounts": mounts}], "volumes": [*volumes]}
    templates = [{"metadata": {"name": one["name"]}} for one in more.get("made", ())]
    return {
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"template": {"spec": spec}, "volumeClaimTemplates": templates},
    }


def claimed(claim: str) -> dict[str, Any]:
    return {"name": "files", "persistentVolumeClaim": {"claimName": claim}}


@pytest.mark.parametrize(
    ("live", "said"),
    [
        (workload("invoicetron-db", "StatefulSet", made=[{"name": "pgdata"}]), "the claim pgdata-invoicetron-db-0"),
        (workload("invoicetron-db", "StatefulSet", claimed("postgres-pvc")), "the claim postgres-pvc"),
        (workload("postgres", "Deployment", claimed("pvc"), mount="/var/lib/postgresql/data"), "the claim pvc"),
        (workload("invoicetron-db", "StatefulSet", {"name": "disk", "hostPath": {"path": "/x"}}), "a hostPath volume"),
        (workload("invoicetron-db", "StatefulSet"), "no volume"),
    ],
)
def test_data_on_another_volume_than_the_programs_is_reported(live: Any, said: str) -> None:
    assert f"the data is on {said}" in "; ".join(on_another_volume(live, names=DEV))


@pytest.mark.parametrize(
    "live",
    [
        workload("invoicetron-db", "StatefulSet", made=[{"name": "data"}]),
        workload("invoicetron-db", "StatefulSet", claimed("data-invoicetron-db-pg18")),
        workload("umami", "Deployment", claimed("files"), mount="/srv"),
        workload("umami", "Deployment"),
    ],
)
def test_a_database_on_the_programs_claim_and_other_workloads_are_not_reported(live: Any) -> None:
    assert not list(on_another_volume(live, names=DEV))


@pytest.mark.parametrize(
    ("kind", "name", "beside"),
    [
        ("Deployment", "invoicetron-db", True),
        ("StatefulSet", "postgres", True),
        ("StatefulSet", "invoicetron-db", False),
    ],
)
def test_another_workload_on_the_databases_claim_would_be_a_second_server(
    kind: str, name: str, *, beside: bool
) -> None:
    assert writes_beside(workload(name, kind, claimed("data-invoicetron-db-0")), names=DEV) is beside
    assert not writes_beside(workload("umami", "Deployment", claimed("files")), names=DEV)


def test_a_sidecar_on_the_volume_is_no_server() -> None:
    both = pod()
    both["containers"][0] |= {"volumeMounts": [{"name": "data", "mountPath": "/data", "readOnly": True}]}
    assert not told(both)


def test_claims_come_from_pods_pod_templates_and_claim_templates() -> None:
    volumes = [{"name": "files", "persistentVolumeClaim": {"claimName": "mine"}}, {"name": "tmp", "emptyDir": {}}]
    of_pod = {"metadata": {"name": "db-0"}, "spec": {"volumes": volumes}}
    template = {"template": {"spec": {"volumes": volumes}}}
    templates = {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}
    assert claims(of_pod) == claims({"metadata": {"name": "db"}, "spec": template}) == {"mine": "files"}
    both = {"metadata": {"name": "db"}, "spec": {**template, **templates}}
    assert claims(both) == {"mine": "files", "data-db-0": "data"}
