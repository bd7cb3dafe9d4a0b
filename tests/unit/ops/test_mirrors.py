"""The mirror is found among others, and GitLab's own API pushes to it until the push has ended."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from gitlab import Gitlab
from gitlab.v4.objects import Project
from starlette.types import ASGIApp

from ops.adopt.existing import Live
from ops.mirrors import MirrorError, push_mirrors, push_now
from rehearsal.vendors.gitlab import GitLab
from tests.stacks import DEV

URL = "ssh://git@github.com/rommelporras/invoicetron.git"
HOST_KEY = "github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


@pytest.fixture
def server() -> GitLab:
    return GitLab.seeded()


@pytest.fixture
def project(server: GitLab, served: Callable[[ASGIApp], str]) -> Project:
    return Gitlab(served(server.app), private_token=server.token).projects.get(server.project.id)


def made(server: GitLab, url: str = URL, *, enabled: bool = True, keys: tuple[str, ...] = (HOST_KEY,)) -> int:
    mirror: int = server.project.mirrors.create({"url": url, "enabled": enabled, "host_keys": list(keys)})["id"]
    return mirror


def test_the_mirror_whose_address_gitlab_shows_in_full_comes_first(server: GitLab, project: Project) -> None:
    hidden = made(server, "https://bot:glpat@github.com/rommelporras/invoicetron.git", keys=())
    whole = made(server)
    for other in (
        "ssh://git@github.com/rommelporras/other.git",
        "ssh://git@evilgithub.com/rommelporras/invoicetron.git",
    ):
        made(server, other)
    assert [one.id for one in push_mirrors(project, URL)] == [whole, hidden]


@pytest.mark.parametrize(
    "url",
    [
        "https://bot:glpat@github.com/rommelporras/invoicetron",
        "https://bot:glpat@github.com:443/rommelporras/invoicetron.git/",
        "ssh://git@github.com:22/RommelPorras/Invoicetron.git",
        "ssh://git@GitHub.com/rommelporras/invoicetron",
    ],
)
def test_a_mirror_to_the_same_repository_is_found_however_its_address_is_written(
    server: GitLab, project: Project, url: str
) -> None:
    by_hand = made(server, url, keys=())
    made(server, "ssh://git@github.com/rommelporras/invoicetron.git.old")
    made(server, "ssh://git@github.com:2222/rommelporras/invoicetron.git")
    assert [one.id for one in push_mirrors(project, URL)] == [by_hand]


def test_a_push_is_started_now_and_waited_for(server: GitLab, project: Project) -> None:
    id_ = made(server)
    assert push_now(project, URL) == server.project.mirrors.get(str(id_))["last_successful_update_at"]


def test_a_push_that_gitlab_delays_after_another_one_is_waited_for(
    server: GitLab, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within five minutes of the last one, GitLab starts it in five minutes (app/models/remote_mirror.rb, `sync`)."""
    id_, now, mirrors = made(server), [0.0], server.project.mirrors
    push, due = mirrors.sync, list[float]()
    monkeypatch.setattr(mirrors, "sync", lambda _id: due.append(now[0] + 5 * 60 + 30))

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if due and now[0] >= due[0]:
            push(str(id_))
            due.clear()

    monkeypatch.setattr("ops.mirrors.time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    assert push_now(project, URL)
    assert now[0] < 400


def test_a_failed_push_is_reported_with_gitlab_s_reason(server: GitLab, project: Project) -> None:
    made(server, keys=())
    with pytest.raises(MirrorError, match="the push failed: Host key verification failed"):
        push_now(project, URL)


def test_a_disabled_mirror_is_refused_in_gitlab_s_words(server: GitLab, project: Project) -> None:
    made(server, enabled=False)
    with pytest.raises(MirrorError, match="Cannot proceed with the push mirroring"):
        push_now(project, URL)


def test_a_mirror_by_another_user_is_not_pushed_to(server: GitLab, project: Project) -> None:
    made(server, "https://bot:glpat@github.com/rommelporras/invoicetron.git", keys=())
    with pytest.raises(MirrorError, match="has no push mirror to ssh://git@"):
        push_now(project, URL)


def test_a_push_that_never_ends_times_out(server: GitLab, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    made(server)
    monkeypatch.setattr(server.project.mirrors, "sync", lambda _id: None)
    monkeypatch.setattr("ops.mirrors._AGAIN", 0.05)
    with pytest.raises(MirrorError, match="has not ended after 0 s"):
        push_now(project, URL, patience=0.1)


@pytest.mark.parametrize(
    ("by_hand", "stands_in_the_way"),
    [
        ({"url": URL, "auth_method": "ssh_public_key"}, False),
        ({"url": URL}, True),
        ({"url": URL.replace("ssh://git@", "https://bot:glpat@")}, True),
        ({"url": URL.replace("git@", "deploy@"), "auth_method": "ssh_public_key"}, True),
    ],
)
def test_a_mirror_made_by_hand_is_imported_where_its_address_is_shown_and_it_has_a_key(
    server: GitLab, project: Project, by_hand: dict[str, Any], stands_in_the_way: bool
) -> None:
    id_ = server.project.mirrors.create(by_hand)["id"]
    nowhere: Any = None  # nothing is read from the cluster
    live = Live(kubernetes=nowhere, names=DEV, gitlab=project.manager.gitlab, mirror=URL)
    kind, inputs = "gitlab:index/projectPushMirror:ProjectPushMirror", {"project": str(project.id)}
    assert live.find(kind, inputs) == (None if stands_in_the_way else f"{project.id}:{id_}")
    assert bool(list(live.blockers(kind, inputs))) == stands_in_the_way
    # The program's own mirror, which `up` makes beside it, is found, and nothing is left to do.
    own = server.project.mirrors.create({"url": URL, "auth_method": "ssh_public_key"})["id"]
    assert live.find(kind, inputs) == f"{project.id}:{own if stands_in_the_way else id_}"
    assert not list(live.blockers(kind, inputs))
