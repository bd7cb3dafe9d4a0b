"""What `pulumi up` does to an image that the app's pipeline has set, as measured with the real plugin, row by row.

The letters beside the tests name the rows of the image matrix in the project's facts about pulumi-kubernetes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rehearsal.plugins.base import DiffKind, InitFailedError
from rehearsal.plugins.kubernetes.provider import KubernetesPlugin
from rehearsal.plugins.values import Properties
from tests.rehearsal.kubernetes_standin.managed import PLACEHOLDER, Managed, configured, deployment, live, with_env

IMAGE = "spec.template.spec.containers[0].image"
RELEASE = "registry.test/app:sha1"

SetImage = Callable[..., None]


@pytest.fixture
def set_image(kubectl: Callable[..., None]) -> SetImage:
    """`kubectl set image`, the very command of the app's pipeline."""

    def run(image: str, manager: str | None = None) -> None:
        kubectl("set", "image", "deployment/app", f"app={image}", *([f"--field-manager={manager}"] if manager else []))

    return run


def image(plugin: KubernetesPlugin, app: Managed) -> str:
    found: str = live(plugin, app)["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


@pytest.fixture
def app(plugin: KubernetesPlugin, namespace: str) -> Managed:
    return made(plugin, namespace, IMAGE)


def made(plugin: KubernetesPlugin, namespace: str, *ignore: str) -> Managed:
    app = Managed(plugin=plugin, type="kubernetes:apps/v1:Deployment", ignore_changes=ignore)
    app.up(deployment(namespace, **{"pulumi.com/skipAwait": "true"}))
    return app


@pytest.fixture
def inputs(namespace: str) -> Properties:
    return deployment(namespace, **{"pulumi.com/skipAwait": "true"})


def test_the_image_stays_if_nothing_else_changes(
    plugin: KubernetesPlugin, app: Managed, inputs: Properties, set_image: SetImage
) -> None:  # a3
    set_image(RELEASE)
    assert app.up(inputs) == "same"
    assert image(plugin, app) == RELEASE


def test_the_image_is_silently_reverted_by_the_first_other_change_without_ignore_changes(
    plugin: KubernetesPlugin, namespace: str, inputs: Properties, set_image: SetImage
) -> None:  # a2
    app = made(plugin, namespace)
    set_image(RELEASE)
    assert list(app.diff(with_env(inputs, "2")).changes) == ["spec.template.spec.containers[0].env[0].value"]
    app.up(with_env(inputs, "2"))
    assert image(plugin, app) == PLACEHOLDER


def test_the_image_is_silently_reverted_by_the_first_other_change_even_if_ignored(
    plugin: KubernetesPlugin, app: Managed, inputs: Properties, set_image: SetImage
) -> None:  # a4
    set_image(RELEASE)
    app.up(with_env(inputs, "2"))
    assert image(plugin, app) == PLACEHOLDER


@pytest.mark.parametrize("ignore", [(), (IMAGE,)])
def test_the_image_makes_the_preview_of_a_later_change_conflict(
    plugin: KubernetesPlugin, namespace: str, inputs: Properties, set_image: SetImage, ignore: tuple[str, ...]
) -> None:  # b1, b2
    app = made(plugin, namespace, *ignore)
    app.up(with_env(inputs, "2"))
    set_image(RELEASE)
    with pytest.raises(
        InitFailedError,
        match=r"server-side apply field conflict detected, see \S+ for troubleshooting help\n.*kubectl-set",
    ):
        app.preview(with_env(inputs, "3"))
    assert image(plugin, app) == RELEASE


def test_the_image_is_silently_reverted_by_a_later_change_that_skips_the_preview(
    plugin: KubernetesPlugin, app: Managed, inputs: Properties, set_image: SetImage
) -> None:  # c1
    app.up(with_env(inputs, "2"))
    set_image(RELEASE)
    app.up(with_env(inputs, "3"), preview=False)
    assert image(plugin, app) == PLACEHOLDER


def test_the_image_makes_a_later_change_conflict_when_set_by_its_own_field_manager(
    plugin: KubernetesPlugin, app: Managed, inputs: Properties, set_image: SetImage
) -> None:  # b4
    app.up(with_env(inputs, "2"))
    set_image(RELEASE, "gitlab-ci")
    with pytest.raises(InitFailedError, match="conflict"):
        app.up(with_env(inputs, "3"), preview=False)
    assert image(plugin, app) == RELEASE


def test_the_image_passes_the_first_preview_and_then_conflicts_when_set_by_its_own_field_manager(
    plugin: KubernetesPlugin, app: Managed, inputs: Properties, set_image: SetImage
) -> None:  # b5
    set_image(RELEASE, "gitlab-ci")
    assert app.preview(with_env(inputs, "2")) == "update"
    with pytest.raises(InitFailedError, match=r'conflict with "gitlab-ci"'):
        app.up(with_env(inputs, "2"), preview=False)
    assert image(plugin, app) == RELEASE


def test_the_image_shows_as_a_revert_after_a_refresh_without_ignore_changes(
    plugin: KubernetesPlugin, namespace: str, inputs: Properties, set_image: SetImage
) -> None:  # c2, c7
    app = made(plugin, namespace)
    app.up(with_env(inputs, "2"))
    set_image(RELEASE)
    app.refresh()
    assert app.diff(with_env(inputs, "2")).changes == {IMAGE: DiffKind.UPDATE}
    with pytest.raises(InitFailedError, match="conflict"):
        app.preview(with_env(inputs, "2"))


@pytest.mark.parametrize("manager", [None, "gitlab-ci"])
def test_the_image_stays_through_all_changes_when_ignored_and_refreshed(
    plugin: KubernetesPlugin, app: Managed, inputs: Properties, set_image: SetImage, manager: str | None
) -> None:  # c3, c6, d8, g1, h1
    for round_ in "234":
        set_image(f"{RELEASE}-{round_}", manager)
        app.refresh()
        assert app.up(with_env(inputs, round_)) == "update"
        assert app.up(with_env(inputs, round_)) == "same"
        container = live(plugin, app)["spec"]["template"]["spec"]["containers"][0]
        assert (container["image"], container["env"][0]["value"]) == (f"{RELEASE}-{round_}", round_)


def test_the_image_is_reverted_by_force_even_if_ignored(
    plugin: KubernetesPlugin, namespace: str, set_image: SetImage
) -> None:  # d1
    inputs = deployment(namespace, **{"pulumi.com/skipAwait": "true", "pulumi.com/patchForce": "true"})
    app = Managed(plugin=plugin, type="kubernetes:apps/v1:Deployment", ignore_changes=(IMAGE,))
    app.up(inputs)
    set_image(RELEASE, "gitlab-ci")
    app.up(with_env(inputs, "2"))
    assert image(plugin, app) == PLACEHOLDER


def test_the_image_conflicts_under_a_wildcard_too(
    plugin: KubernetesPlugin, namespace: str, inputs: Properties, set_image: SetImage
) -> None:  # d6
    app = made(plugin, namespace)
    app.up(with_env(inputs, "2"))
    set_image(RELEASE)
    app.ignore_changes = ("spec.template.spec.containers[*].image",)
    call = app._call(app.plugin.check(app._call(with_env(inputs, "3"))), preview=True)
    with pytest.raises(InitFailedError, match="conflict"):
        plugin.update(call)


def test_the_image_stays_when_the_whole_list_is_ignored_which_then_ignores_everything_in_it(
    plugin: KubernetesPlugin, namespace: str, inputs: Properties, set_image: SetImage
) -> None:  # d5
    app = made(plugin, namespace, "spec.template.spec.containers")
    set_image(RELEASE)
    changed = with_env(inputs, "2")
    changed["metadata"]["annotations"]["note"] = "changed"
    app.up(changed)
    container = live(plugin, app)["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["env"][0]["value"]) == (RELEASE, "1")


@pytest.mark.parametrize(("refreshed", "expected"), [(False, PLACEHOLDER), (True, RELEASE)])
def test_the_image_is_reverted_by_the_retry_of_an_unready_rollout_unless_refreshed(
    kubeconfig: Path, namespace: str, set_image: SetImage, *, refreshed: bool, expected: str
) -> None:  # e1
    plugin = configured(kubeconfig)
    inputs = deployment(namespace)
    unschedulable = {"nodeSelector": {"no": "node"}}
    inputs["spec"]["template"]["spec"] |= unschedulable
    app = Managed(plugin=plugin, type="kubernetes:apps/v1:Deployment", ignore_changes=(IMAGE,))
    with pytest.raises(InitFailedError):
        app.up(inputs, timeout=1)
    set_image(RELEASE)
    if refreshed:
        app.refresh()
    with pytest.raises(InitFailedError):
        app.up(inputs, timeout=1, preview=False)
    assert image(plugin, app) == expected


def test_the_image_causes_no_init_error_when_nobody_waits(app: Managed, set_image: SetImage) -> None:  # e3
    set_image(RELEASE)
    app.refresh()
    assert app.init_errors == []


def test_ignored_plain_fields_such_as_replicas_are_left_to_others(
    plugin: KubernetesPlugin, namespace: str, inputs: Properties, kubectl: Callable[..., None]
) -> None:
    app = made(plugin, namespace, "spec.replicas")
    app.up(with_env(inputs, "2"))
    kubectl("scale", "deployment/app", "--replicas=3")
    app.up(with_env(inputs, "3"))
    assert live(plugin, app)["spec"]["replicas"] == 3
