"""The stand-in for pulumi-gitlab on an emulated GitLab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rehearsal.plugins.gitlab.plugin import GitLabPlugin
from rehearsal.vendors.gitlab import GitLab
from rehearsal.vendors.server import serve
from tests.rehearsal.gitlab_standin.resource import configured


@pytest.fixture
def gitlab() -> GitLab:
    return GitLab.seeded()


@pytest.fixture
def url(gitlab: GitLab) -> Iterator[str]:
    with serve(gitlab.app) as base:
        yield f"{base}/api/v4/"


@pytest.fixture
def plugin(gitlab: GitLab, url: str) -> GitLabPlugin:
    return configured(url, gitlab.token)
