"""What the specs of pods and their workloads say about how to run them here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rehearsal.pods.container import Mount, placed
from rehearsal.pods.postgres import PostgresServer, programs
from settings.images import image_repository, postgres_major

_SCRIPTS: Final = "/scripts/"


def is_ours(pod: Any) -> bool:
    """Whether kwok leaves this pod to us (the condition that kwok_stages.py adds to its stages), and it has a node."""
    commands: Sequence[Sequence[str] | None] = [container.command for container in pod.spec.containers]
    scripts = any(part.startswith(_SCRIPTS) for command in commands for part in command or [])
    return scripts and pod.spec.node_name is not None


def is_of_stateful_set(pod: Any) -> bool:
    """Whether a StatefulSet created the pod, like the database's."""
    return any(owner.kind == "StatefulSet" for owner in pod.metadata.owner_references or [])


def mounted_claim(stateful_set: Any) -> str:
    """The one claim that the StatefulSet's pod mounts."""
    claims = [one.persistent_volume_claim for one in stateful_set.spec.template.spec.volumes]
    (name,) = (claim.claim_name for claim in claims if claim is not None)
    return str(name)


def server_parameters(container: Any, files: Sequence[Mount]) -> dict[str, str]:
    """PostgreSQL's command-line parameters, by name; `files` are the mounts of its volumes."""
    words = (word.removeprefix("--").partition("=") for word in container.args or [])
    return {name: placed(value, files) for name, _, value in words if value}


def programs_of(image: str, server: PostgresServer, folder: Callable[[str, PostgresServer], Path]) -> Path:
    """PostgreSQL's programs in the version of an image; the server's own programs for any other image."""
    is_postgres = image_repository(image).rpartition("/")[2] == "postgres"
    major = postgres_major(image) if is_postgres else server.major
    if major == server.major:
        return server.bin
    return programs(major, folder(f"postgres-{major}", server), server.account, tls=server.tls)


def variables_of(container: Any, secret: Callable[[str], Mapping[str, str]], pod: Any = None) -> dict[str, str]:
    """A container's environment, with its references to Secrets and to the pod's labels resolved."""
    variables = {}
    for one in container.env or []:
        if one.value_from is None:
            variables[one.name] = one.value or ""
        elif one.value_from.field_ref is not None:
            label = one.value_from.field_ref.field_path.removeprefix("metadata.labels['").removesuffix("']")
            variables[one.name] = (pod.metadata.labels or {}).get(label, "")
        else:
            reference = one.value_from.secret_key_ref
            variables[one.name] = secret(reference.name)[reference.key]
    return variables
