"""Whether the program's pod would find the data on a volume made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from ops.adopt.data_folder import claims, elsewhere
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


def told(spec: dict[str, Any], **config_maps: Any) -> str:
    return "; ".join(elsewhere(spec, "data", names=DEV, image=IMAGE, config_maps=config_maps))


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
    assert "PGDATA is not set" in "; ".join(elsewhere(pod(image=old), "data", names=DEV, image=old, config_maps={}))


def test_a_config_map_may_say_where_the_data_is() -> None:
    assert "PGDATA" in told(pod(envFrom=[{"configMapRef": {"name": "it"}}]), it={"PGDATA": "/elsewhere"})


def test_claims_come_from_pods_pod_templates_and_claim_templates() -> None:
    volumes = [{"name": "files", "persistentVolumeClaim": {"claimName": "mine"}}, {"name": "tmp", "emptyDir": {}}]
    of_pod = {"metadata": {"name": "db-0"}, "spec": {"volumes": volumes}}
    template = {"template": {"spec": {"volumes": volumes}}}
    templates = {"volumeClaimTemplates": [{"metadata": {"name": "data"}}]}
    assert claims(of_pod) == claims({"metadata": {"name": "db"}, "spec": template}) == {"mine": "files"}
    both = {"metadata": {"name": "db"}, "spec": {**template, **templates}}
    assert claims(both) == {"mine": "files", "data-db-0": "data"}
