"""Whether the registry keeps the running images, asked of a GitLab through its own client."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest
from starlette.types import ASGIApp

from lookups import deploy_tokens
from ops.verify import registry
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from rehearsal.vendors.gitlab import GitLab
from tests.stacks import PROD
from tests.unit.answers import REGISTRY
from tests.unit.program import load_settings

SETTINGS: Final = load_settings("prod")
IMAGES: Final = f"{REGISTRY}/prod"


class Live(Systems):
    """A stack that has run these images, the last of them now, and a GitLab. With a quote: in another pod template."""

    def __init__(self, url: str, *ran: str) -> None:
        super().__init__(SETTINGS, http=httpx.Client())
        self._ran = ran
        client = deploy_tokens.connect(url)
        self.__dict__["_project"] = (client.projects.get(self.delivery.project), None)

    def need(self, _api_version: str, kind: str, _name: str, _namespace: str | None = None) -> Any:
        assert kind == "Deployment"
        return workload(self._ran[-1].rstrip("'"))

    def list(self, _api_version: str, kind: str) -> Any:
        assert kind == "ReplicaSet"
        # Unordered, and including one that is not the app's.
        sets = [workload(image, *revisions) for image, revisions in replica_sets(*self._ran)]
        return [workload(f"{IMAGES}:other", 99, owner="other"), *sets]


def replica_sets(*ran: str) -> list[tuple[str, list[int]]]:
    """Image and revisions of each ReplicaSet: the controller uses the one of the same pod template again."""
    revisions: dict[str, list[int]] = {}
    for number, image in enumerate(ran, start=1):
        revisions.setdefault(image, []).append(number)
    return [(image.rstrip("'"), numbers) for image, numbers in revisions.items()]


def workload(image: str, *revisions: int, owner: str = PROD.app) -> dict[str, Any]:
    *earlier, last = map(str, revisions or (1,))
    history = {"deployment.kubernetes.io/revision-history": ",".join(earlier)} if earlier else {}
    return {
        "metadata": {
            "annotations": {"deployment.kubernetes.io/revision": last, **history},
            "ownerReferences": [{"name": owner}],
        },
        "spec": {"template": {"spec": {"containers": [{"name": PROD.app, "image": image}]}}},
    }


@pytest.fixture
def gitlab() -> GitLab:
    return GitLab.seeded()


@pytest.fixture
def look(gitlab: GitLab, served: Callable[[ASGIApp], str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What the check says of a stack that has run these tags."""
    url = served(gitlab.app)
    monkeypatch.setenv("GITLAB_BASE_URL", f"{url}/api/v4/")
    monkeypatch.setenv("GITLAB_TOKEN", gitlab.token)
    return lambda *tags: registry.images(Live(url, *(f"{IMAGES}:{tag}" for tag in tags)))


def pushed(gitlab: GitLab, *tags: str, policy: dict[str, Any] | None = None) -> None:
    """Pushes one tag a day, the last of them today."""
    now = dt.datetime.now(dt.UTC)
    for days, tag in enumerate(reversed(tags)):
        moment = (now - dt.timedelta(days=days)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        gitlab.project.registry.push(f"{IMAGES}:{tag}", created_at=moment)
    gitlab.project.clean_up |= {"enabled": policy is not None, **(policy or {})}


def test_without_a_clean_up_policy_it_is_enough_that_the_images_exist(gitlab: GitLab, look: Callable[..., str]) -> None:
    pushed(gitlab, "a", "b", "c")
    assert look("a", "b", "c") == "c, b: in the registry, whose clean-up policy is off"
    gitlab.project.registry.remove(f"{IMAGES}:b")
    with pytest.raises(CheckError, match=f"the registry no longer has {IMAGES}:b, so a node without it") as lost:
        look("a", "b", "c")
    assert "run the app's pipeline of branch main" in lost.value.fix


def test_an_overwritten_tag_no_longer_keeps_the_running_image(gitlab: GitLab, look: Callable[..., str]) -> None:
    digest = gitlab.project.registry.push(f"{IMAGES}:a")
    assert "in the registry" in look(f"a@{digest}")
    gitlab.project.registry.push(f"{IMAGES}:a")
    with pytest.raises(CheckError, match=f"a is another image now, and {digest} has no tag"):
        look(f"a@{digest}")


@pytest.mark.parametrize(
    ("policy", "endangered"),
    [
        ({"keep_n": 25}, ""),
        ({"keep_n": 5}, ""),
        ({"keep_n": 1}, "a1, a2"),
        ({"keep_n": None}, "a1, a2"),
        ({"keep_n": None, "older_than": None}, "a1, a2"),
        ({"keep_n": 1, "name_regex": None}, ""),
        ({"keep_n": 1, "name_regex": "b.*"}, ""),
        ({"keep_n": 1, "name_regex": "1"}, ""),
        ({"keep_n": 1, "name_regex": ".*", "name_regex_keep": "a[12]"}, ""),
        ({"keep_n": 1, "name_regex": ".*", "name_regex_keep": "a1"}, "a2"),
        # Of alternatives, GitLab compares only the first with a tag's beginning, and only the last with its end.
        ({"keep_n": 1, "name_regex": "b1|2"}, "a2"),
        ({"keep_n": 1, "name_regex": ".*", "name_regex_keep": "b|1"}, ""),
        # Tags that the policy cannot remove are not counted among the newest.
        ({"keep_n": 5, "name_regex": "a.*"}, ""),
        ({"keep_n": 1, "name_regex": "a1"}, ""),
    ],
)
def test_images_that_run_or_that_a_rollback_needs_are_kept_by_the_policy_or_named(
    gitlab: GitLab, look: Callable[..., str], policy: dict[str, Any], endangered: str
) -> None:
    # Two further builds were never deployed: their rollouts failed.
    pushed(gitlab, "a2", "a1", "b1", "b2", "latest", policy=policy)
    if not endangered:
        assert "kept by its clean-up policy" in look("a2", "a1")
        return
    with pytest.raises(CheckError) as refused:
        look("a2", "a1")
    assert refused.value.seen.startswith(f"GitLab's clean-up policy removes {endangered}, which run")
    assert "keep the 25 most recent tags of each image" in refused.value.fix


RAN: Final = [
    ("a", ""),
    ("a b", "a"),
    ("a b c b", "a"),  # the rollout of c failed, and was undone
    ("a b c b d", "b"),
    ("a b c b a", ""),  # rolled back, to the first
    ("a b a b", "a"),
    ("a b a c", "a"),
    ("a b b' c b'", "a"),  # an `up` changed the pod template
    ("a b b' a'", ""),
    ("a b c d b e b", "a"),
    ("a b c d e f g h i j", "i"),
    ("a b@sha256:1 c b d", "b"),  # rolled back by the tag alone
    ("a b@sha256:1 c b@sha256:1 d", "b@sha256:1"),
    ("a b@sha256:1 c b", "a"),
]
"""The images that a stack ran, the last of them now, and the one that a rollback returns to."""


@pytest.mark.parametrize(("ran", "before"), [one for one in RAN if "@" not in one[0]])
def test_what_was_left_by_a_rollback_or_a_failed_rollout_is_not_needed(
    gitlab: GitLab, look: Callable[..., str], ran: str, before: str
) -> None:
    pushed(gitlab, *"abcdefghij")
    *_, runs = ran.replace("'", "").split()
    needed = f"{runs}, {before}" if before else runs
    assert look(*ran.split()) == f"{needed}: in the registry, whose clean-up policy is off"


def test_an_image_that_came_back_by_its_tag_alone_is_the_one_that_ran_with_its_digest(
    gitlab: GitLab, look: Callable[..., str]
) -> None:
    pushed(gitlab, "first", "left")
    digest = gitlab.project.registry.push(f"{IMAGES}:a")
    assert look("first", f"a@{digest}", "left", "a") == "a, first: in the registry, whose clean-up policy is off"


def test_many_builds_push_the_running_image_out_of_the_newest(gitlab: GitLab, look: Callable[..., str]) -> None:
    pushed(gitlab, "runs", *(f"b{number}" for number in range(30)), policy={"keep_n": 25})
    with pytest.raises(CheckError, match="removes runs, which"):
        look("runs")


def test_a_stack_that_nothing_was_deployed_into_has_nothing_to_keep(look: Callable[..., str]) -> None:
    assert look("placeholder") == f"nothing that runs has a tag of {IMAGES}"
    with pytest.raises(CheckError, match=f"the project's registry has no {IMAGES}"):
        look("a")


def test_gitlab_does_not_clean_up_an_image_of_another_registry(
    look: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = SETTINGS.app.model_copy(update={"image": "quay.io/someone/app:placeholder"})
    monkeypatch.setattr("tests.unit.ops.test_registry.SETTINGS", SETTINGS.model_copy(update={"app": app}))
    assert look("a") == "quay.io/someone/app is not in the project's registry"
