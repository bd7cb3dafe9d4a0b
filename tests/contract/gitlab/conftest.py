"""A GitLab that is checked against its API's pages, and the stand-in plugin that calls it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rehearsal.plugins.gitlab.plugin import GitLabPlugin
from rehearsal.vendors.gitlab import GitLab
from rehearsal.vendors.server import serve
from tests.contract.gitlab.held import HeldGitLab


@pytest.fixture
def emulator() -> GitLab:
    return GitLab.seeded()


@pytest.fixture
def held(emulator: GitLab) -> HeldGitLab:
    return HeldGitLab(emulator.app)


@pytest.fixture
def url(held: HeldGitLab, emulator: GitLab, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with serve(held) as base:
        monkeypatch.setenv("GITLAB_BASE_URL", f"{base}/api/v4/")
        monkeypatch.setenv("GITLAB_TOKEN", emulator.token)
        yield base
    assert held.problems == []


@pytest.fixture
def plugin(url: str) -> GitLabPlugin:
    assert url
    plugin = GitLabPlugin()
    plugin.configure({})
    return plugin
