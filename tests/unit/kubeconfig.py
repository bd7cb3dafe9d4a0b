"""A kubeconfig whose context `a` leads to an API server that a test serves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def write_kubeconfig(url: str, directory: Path, monkeypatch: pytest.MonkeyPatch, *, bearer: str = "t") -> None:
    """Writes it into `directory` and sets KUBECONFIG."""
    kubeconfig = directory / "kubeconfig"
    named = {"cluster": {"server": url}}, {"user": {"token": bearer}}, {"context": {"cluster": "a", "user": "a"}}
    clusters, users, contexts = ([{"name": "a", **one}] for one in named)
    kubeconfig.write_text(json.dumps({"clusters": clusters, "users": users, "contexts": contexts}))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
