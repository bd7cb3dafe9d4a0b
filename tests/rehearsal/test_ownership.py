"""A stack file copied from another stack takes nothing over: `up` refuses before it makes the first resource."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.engine import EngineError
from rehearsal.rehearsal import Rehearsal
from rehearsal.toolchain import Tools
from tests.rehearsal.cleanup import rehearsed

OWN = {
    "access.hostname": "invoicetron-staging.dev.k8s.rommelporras.com",
    "delivery.environment.name": "staging",
    "delivery.environment.tier": "staging",
    "registry.item": "op://Kubernetes/Invoicetron Staging Deploy Token",
}
"""Settings that make a copy of dev's file an independent stack."""


@dataclass(frozen=True)
class Live:
    """A rehearsal in which dev and prod are up."""

    rehearsal: Rehearsal
    numbers: Iterator[int]

    def copied(self, source: str, changes: dict[str, str]) -> str:
        """A new stack, whose file is that of `source` except for its namespace and `changes`."""
        stack = f"review-{next(self.numbers)}"
        directory = self.rehearsal.program.directory
        content = yaml.safe_load((directory / f"Pulumi.{source}.yaml").read_text())
        config = {key: value for key, value in content["config"].items() if key.startswith("invoicetron:")}
        config["invoicetron:namespace"] = f"invoicetron-{stack}"
        for path, value in changes.items():
            node: dict[str, Any] = config
            *sections, last = f"invoicetron:{path}".split(".")
            for section in sections:
                node = node[section]
            node[last] = value
        (directory / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump({"config": config}))
        self.rehearsal.program.init(stack)
        return stack

    def refused(self, stack: str, *, previewed: bool = False) -> str:
        """How `up` and, if `previewed`, a preview are refused; checks that nothing was written anywhere."""
        emulators = [self.rehearsal.gitlab.app, self.rehearsal.cloudflare.app, self.rehearsal.onepassword.app]
        for app in emulators:
            app.forget()
        messages = []
        for run in (*([self.rehearsal.program.preview] if previewed else []), self.rehearsal.program.up):
            with pytest.raises(EngineError) as refused:
                run(stack)
            messages.append(str(refused.value))
        assert not [call for app in emulators for call in app.writes]
        assert f"invoicetron-{stack}" not in self.rehearsal.kubectl("get", "namespaces", "-o", "name")
        state = json.loads(self.rehearsal.program.run("stack", "export", "--stack", stack))["deployment"]
        assert not [
            one for one in state.get("resources") or [] if one["custom"] and "pulumi:providers" not in one["type"]
        ]
        refusal = f"Stack '{stack}' would take over another owner's resources. Nothing was created or changed."
        assert all(refusal in message for message in messages)
        return messages[-1]


@pytest.fixture(scope="module")
def live(tools: Tools, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with rehearsed(tools, control_plane, tmp_path_factory.mktemp("ownership") / "rehearsal") as rehearsal:
        for stack in ("prod", "dev"):  # prod protects the branch that dev's token is protected for
            rehearsal.program.init(stack)
            rehearsal.program.up(stack, "--skip-preview")
        yield Live(rehearsal, itertools.count(1))


def test_one_message_lists_everything_of_prod_that_a_copy_of_its_file_would_take(live: Live) -> None:
    message = live.refused(live.copied("prod", {}), previewed=True)
    for what in (
        "the hostname invoicetron.k8s.rommelporras.com",
        "the environment 'production' of the GitLab project 0xwsh/invoicetron",
        "the CiliumNetworkPolicy cloudflare/invoicetron-cloudflared-egress",
        "mirror, branches and protections of the GitLab project 0xwsh/invoicetron",
        "the Access application of invoicetron.rommelporras.com",
        "the tunnel's rule of invoicetron.rommelporras.com",
        "the DNS record of invoicetron.rommelporras.com",
    ):
        assert re.search(rf"{re.escape(what)}.*\n +belongs to invoicetron/prod", message), what
    assert not live.rehearsal.program.up("prod", "--skip-preview").changes


def test_one_message_lists_everything_of_dev_that_a_copy_of_its_file_would_take(live: Live) -> None:
    message = live.refused(live.copied("dev", {}))
    assert "the hostname invoicetron.dev.k8s.rommelporras.com\n" in message
    assert "the environment 'development' of the GitLab project 0xwsh/invoicetron" in message
    assert message.count("belongs to invoicetron/dev") >= 2
    assert not live.rehearsal.program.up("dev", "--skip-preview").changes


def test_another_stack_s_hostname_alone_is_refused(live: Live) -> None:
    message = live.refused(live.copied("dev", OWN | {"access.hostname": "invoicetron.dev.k8s.rommelporras.com"}))
    assert message.count("belongs to") == 1
    assert "the HTTPRoute invoicetron-dev/invoicetron shows: change access.hostname" in message


def test_another_stack_s_environment_alone_is_refused(live: Live) -> None:
    message = live.refused(live.copied("dev", OWN | {"delivery.environment.name": "development"}))
    assert message.count("belongs to") == 1
    assert "belongs to invoicetron/dev, as its description shows: change delivery.environment.name" in message


def test_an_environment_whose_description_somebody_rewrote_is_recognized_by_its_variables(live: Live) -> None:
    project = live.rehearsal.gitlab.project
    (environment,) = project.environments.entries({"name": "development"})
    project.environments.update(str(environment["id"]), {"description": "where we try things"})
    stack = live.copied("dev", OWN | {"delivery.environment.name": "development"})
    assert "belongs to invoicetron/dev, as the description of its variable" in live.refused(stack)
    # As the last release made them.
    for variable in project.variables.entries({}):
        if variable["environment_scope"] == "development":
            project.variables.update(variable["key"], "development", {"description": ""})
    assert "belongs to invoicetron/dev, as its variable KUBE_NAMESPACE shows" in live.refused(stack)
    live.rehearsal.program.up("dev", "--skip-preview")
    assert "as its description shows" in live.refused(stack), "the next `up` marks what is in its state"


def _without_labels(rehearsal: Rehearsal) -> None:
    rehearsal.kubectl("-n", "invoicetron-dev", "label", "httproute", "invoicetron", "app.kubernetes.io/instance-")


def _of_a_person(rehearsal: Rehearsal) -> None:
    gateway = {"name": "homelab-gateway", "namespace": "default"}
    spec = {"parentRefs": [gateway], "hostnames": ["taken.dev.k8s.rommelporras.com"]}
    meta = {"name": "by-hand", "namespace": "default"}
    route = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": meta, "spec": spec}
    rehearsal.kubectl("apply", "-f", "-", stdin=json.dumps(route))


@pytest.mark.parametrize(
    ("before", "hostname", "owner"),
    [
        (_without_labels, "invoicetron.dev.k8s.rommelporras.com", "invoicetron/dev"),
        (_of_a_person, "taken.dev.k8s.rommelporras.com", "the creator of that route"),
    ],
)
def test_a_hostname_that_an_unmarked_route_serves_is_refused(
    live: Live, before: Callable[[Rehearsal], None], hostname: str, owner: str
) -> None:
    before(live.rehearsal)
    try:
        message = live.refused(live.copied("dev", OWN | {"access.hostname": hostname}))
        assert f"belongs to {owner}, as the HTTPRoute" in message
    finally:
        live.rehearsal.kubectl("-n", "default", "delete", "httproute", "by-hand", "--ignore-not-found")


def test_a_copy_with_its_own_names_is_created_and_destroyed_beside_the_original(live: Live) -> None:
    live.rehearsal.program.up("dev", "--skip-preview")  # other tests removed its marks
    stack = live.copied("dev", OWN)
    assert live.rehearsal.program.up(stack, "--skip-preview").counts["create"]
    assert not live.rehearsal.program.up(stack, "--skip-preview").changes
    live.rehearsal.program.destroy(stack, "--skip-preview")
    names = {one["name"] for one in live.rehearsal.gitlab.project.environments.entries({})}
    assert names == {"development", "production"}
    for other in ("dev", "prod"):
        assert not live.rehearsal.program.up(other, "--skip-preview").changes


def test_a_second_state_of_the_same_name_takes_nothing_over(live: Live, tmp_path: Path) -> None:
    program = live.rehearsal.program
    elsewhere = replace(program, environment={**program.environment, "PULUMI_BACKEND_URL": tmp_path.as_uri()})
    elsewhere.init("dev")
    emulators = [live.rehearsal.gitlab.app, live.rehearsal.cloudflare.app, live.rehearsal.onepassword.app]
    for app in emulators:
        app.forget()
    assert "has none of it. `up` will refuse" in elsewhere.preview("dev").output
    with pytest.raises(EngineError, match=r"has none of it\. Nothing was created or changed"):
        elsewhere.up("dev", "--skip-preview")
    assert not [call for app in emulators for call in app.writes]
    assert not program.up("dev", "--skip-preview").changes
