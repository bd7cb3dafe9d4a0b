"""Whether the kubeconfig in a job contains more than the credentials that GitLab gives every job."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import yaml

_AGENT: Final = re.compile(r"agent:\d+")
_JOB_TOKEN: Final = re.compile(r"ci:\d+:\S+")


def is_credential(kubeconfig: str) -> bool:
    """Whether a value of KUBECONFIG leads to credentials that somebody put there.

    If a project authorises an agent for Kubernetes (`ci_access`), GitLab writes a KUBECONFIG into every job and merges
    the project's own into it (`Ci::GenerateKubeconfigService`): users `agent:<id>` with the token
    `ci:<id>:<the job's token>`, which expires with the job. If there are no other users, nobody left a credential
    unprotected. A file that cannot be read as a kubeconfig counts as an unprotected credential.
    """
    return any(_holds_credentials(Path(path)) for path in kubeconfig.split(os.pathsep) if path)


def _holds_credentials(file: Path) -> bool:
    try:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        return not all(_is_agent(user) for user in config.get("users") or [])
    except (OSError, ValueError, AttributeError, TypeError, yaml.YAMLError):
        return True


def _is_agent(entry: dict[str, Any]) -> bool:
    user = entry.get("user") or {}
    return bool(
        _AGENT.fullmatch(str(entry.get("name", "")))
        and user.keys() == {"token"}
        and _JOB_TOKEN.fullmatch(str(user["token"]))
    )
