"""Runs `__main__.py` under Pulumi's mocks and keeps each registration whole: inputs, options, what is secret."""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final, cast
from unittest import mock

import pulumi
import yaml
from kubernetes.utils.quantity import parse_quantity
from pulumi import runtime
from pulumi.runtime import mocks
from pulumi.runtime import settings as runtime_settings
from pulumi.runtime.proto import resource_pb2, source_pb2

from lookups.r2 import R2Ids
from rehearsal.plugins.values import Secret, decode
from settings import Settings
from settings.names import Names
from tests.stacks import PROJECT
from tests.unit.answers import HELD, IDS, Answers
from tests.unit.operator_objects import LISTED
from tests.unit.stack_files import sections, stack_file

REPOSITORY: Final = Path(__file__).parents[2]
_STACK_TYPE: Final = "pulumi:pulumi:Stack"


def amount(quantity: str) -> Decimal:
    """A Kubernetes quantity in base units: cores, or bytes."""
    return Decimal(parse_quantity(quantity))


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One resource as the program registered it."""

    urn: str
    type: str
    name: str
    custom: bool
    inputs: dict[str, Any]
    """Plain values; which of them are secret is in `secret_inputs`."""
    secret_inputs: frozenset[str]
    """Paths of the secret inputs, e.g. `stringData`."""
    request: resource_pb2.RegisterResourceRequest

    @property
    def kind(self) -> str:
        """The last part of the type token, e.g. `Deployment`."""
        return self.type.rsplit(":", 1)[-1]

    @property
    def parent(self) -> str:
        """URN of the parent."""
        return self.request.parent


@dataclass(frozen=True, kw_only=True)
class Program:
    """Everything that one run registered."""

    stack: str
    registrations: list[Registration]
    outputs: dict[str, Any]

    def one(self, kind: str, name: str | None = None) -> Registration:
        """The only resource of this kind, and of this Kubernetes name if one is given."""
        found = [each for each in self.of(kind) if name in {None, each.inputs["metadata"]["name"]}]
        assert len(found) == 1, f"{kind} {name}: {len(found)} found"
        return found[0]

    def of(self, kind: str) -> list[Registration]:
        """All resources of a kind."""
        return [each for each in self.registrations if each.kind == kind]

    def by_urn(self, urn: str) -> Registration:
        """The resource with this URN."""
        return next(each for each in self.registrations if each.urn == urn)

    def pods(self) -> Iterator[tuple[Registration, dict[str, Any]]]:
        """Every pod template, after the resource that contains it."""
        for each in self.registrations:
            spec = each.inputs.get("spec") or {}
            if each.kind == "CronJob":
                yield each, spec["jobTemplate"]["spec"]["template"]
            elif each.kind in {"Deployment", "StatefulSet"}:
                yield each, spec["template"]

    def waits_for(self, waiting: Registration) -> frozenset[str]:
        """The URNs of everything that is created before this resource."""
        seen: set[str] = set()
        urns = [waiting.urn]
        while urns:
            for urn in self.by_urn(urns.pop()).request.dependencies:
                if urn not in seen:
                    seen.add(urn)
                    urns.append(urn)
        return frozenset(seen)


class _Monitor(mocks.MockMonitor):
    """Keeps the requests, of which the SDK's mocks show only a part."""

    def __init__(self, answers: runtime.Mocks, stack: str, project: str) -> None:
        super().__init__(answers)
        self.stack, self.project = stack, project
        self.requests: list[tuple[str, resource_pb2.RegisterResourceRequest]] = []
        self.outputs: dict[str, Any] = {}

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """Makes a URN as the engine does; the SDK's own method counts the stack as a type, and forgets grandparents."""
        types = parent.split("::")[2] if parent else _STACK_TYPE
        qualified = type_ if types == _STACK_TYPE else f"{types}${type_}"
        return f"urn:pulumi:{self.stack}::{self.project}::{qualified}::{name}"

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> Any:  # noqa: N802 - gRPC's name
        urn = self.make_urn(request.parent, request.type, request.name)
        self.requests.append((urn, request))
        inputs = decode(request.object)
        args = runtime.MockResourceArgs(request.type, request.name, inputs)
        id_, outputs = self.mocks.new_resource(args)
        # Encode only what differs; the SDK's mocks encode everything again, which took a sixth of a run.
        response = resource_pb2.RegisterResourceResponse(urn=urn, id=id_ or "", object=request.object)
        response.object.update({name: value for name, value in outputs.items() if value is not inputs.get(name)})
        return response

    def RegisterResourceOutputs(self, request: resource_pb2.RegisterResourceOutputsRequest) -> Any:  # noqa: N802 - as above
        if _STACK_TYPE in request.urn:
            self.outputs = decode(request.outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call] # as above


def run(
    stack: str,
    changes: Mapping[str, Any] | None = None,
    *,
    values: Mapping[str, str] | None = None,
    gitlab: Mapping[str, Mapping[str, Any]] | None = None,
    file: str | None = None,
    project: str = PROJECT,
    there: Mapping[str, Any] | None = None,
    protected_environments: Sequence[str] = (),
    unreached: Exception | None = None,
) -> Program:
    """Runs the program of a stack, with the stack file of `file` if given, renamed to `project`.

    `changes` replace settings, e.g. {"database.size": "20Gi"}; `values` fields of the 1Password item; `gitlab` parts of
    what GitLab's functions return, e.g. {"getMetadata": {"enterprise": False}}. `there` is what the cluster holds by
    resource, e.g. {"clusters": {...}}, in addition to `HELD`. `protected_environments` are those protected already.
    `unreached` is why the program itself does not reach 1Password, though the plugin does.
    """
    answers = Answers()
    for function, attributes in (gitlab or {}).items():
        answers.gitlab[function].update(attributes)
    answers.values.update(values or {})
    monitor = _Monitor(answers, stack, project)
    config = _config(file or stack, project)
    for path, value in (changes or {}).items():
        _set(config, project, path.split("."), value)
    encoded = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
    # The program asks GitLab about the token without the plugin, so the engine's mocks do not cover it.
    able = mock.patch("lookups.gitlab.missing_permissions", return_value=[])
    protected = mock.patch("lookups.gitlab.find_protected", return_value=protected_environments)
    known = mock.patch("lookups.infrastructure.token_user", return_value=1)
    reached = mock.patch("lookups.onepassword_reach.client", side_effect=unreached)
    # Nor do they cover the API server, which holds every object that is read, but no volumes and no database.
    held = mock.Mock()
    held.list.side_effect = lambda _, resource, *__, **___: LISTED.get(resource, [])
    objects = {**HELD, **(there or {})}
    held.get.side_effect = lambda _, resource, *__: objects.get(resource, {"metadata": {}})
    held.served.return_value = mock.MagicMock(**{"__contains__.return_value": True})
    connected = mock.patch("lookups.stack.connect", return_value=held)
    # The program asks Cloudflare itself, too.
    seen = mock.patch("lookups.cloudflare.look_up", return_value=IDS)
    account = mock.patch("lookups.r2.look_up", lambda r2, *_, **__: dict.fromkeys(r2, R2Ids(write_group="group")))
    unclaimed = mock.patch("lookups.cloudflare_owner.foreign", return_value=[])
    # The SDK reads the stack trace of every registration, below all of pytest's frames; nobody uses it here.
    placeless = mock.patch("pulumi.runtime.resource._get_stack_trace", source_pb2.StackTrace)
    root = mock.patch("pulumi.get_root_directory", return_value=str(REPOSITORY))
    with (
        tempfile.TemporaryDirectory() as directory,
        _environment(Path(directory)),
        able,
        protected,
        known,
        reached,
        connected,
        seen,
        account,
        unclaimed,
        placeless,
        root,
    ):
        asyncio.run(_run(_main, answers, monitor, encoded))
    registrations = [_registration(urn, request) for urn, request in monitor.requests]
    return Program(stack=stack, registrations=registrations, outputs=monitor.outputs)


def requests(main: Callable[[], None]) -> list[resource_pb2.RegisterResourceRequest]:
    """What a program registers, except the stack, as it reaches the engine."""
    answers = Answers()
    monitor = _Monitor(answers, "dev", PROJECT)
    with mock.patch("pulumi.runtime.resource._get_stack_trace", source_pb2.StackTrace):
        asyncio.run(_run(main, answers, monitor, {}))
    return [request for _, request in monitor.requests if request.type != _STACK_TYPE]


def _main() -> None:
    handler = signal.getsignal(signal.SIGINT)
    try:
        runpy.run_path(str(REPOSITORY / "__main__.py"), run_name="__main__")
    finally:
        signal.signal(signal.SIGINT, handler)  # Ctrl-C belongs to pytest


async def _run(main: Callable[[], None], answers: Answers, monitor: _Monitor, config: dict[str, str]) -> None:
    stack, project = monitor.stack, monitor.project
    # Without a stack, set_mocks creates one of its own, to whose outputs nothing could be added any more.
    runtime_settings.ROOT.set(cast(pulumi.Resource, object()))
    runtime.set_mocks(answers, project=project, stack=stack, preview=False, monitor=monitor)
    runtime_settings.ROOT.set(None)
    # The SDK's mocks keep the outputs of earlier tests that nobody awaited; their event loops are closed.
    runtime_settings.SETTINGS.outputs.clear()
    runtime_settings.SETTINGS.callbacks = mock.Mock()  # without an engine, nobody calls a hook
    runtime.set_all_config(config)
    await runtime.run_in_stack(main)


def load_settings(stack: str) -> Settings:
    """The settings of one of the unit tests' stacks."""
    return Settings.load(Names(PROJECT, stack), sections(stack))


def _config(stack: str, project: str) -> dict[str, Any]:
    """The stack file with Pulumi.yaml's defaults for keys it leaves out, and `project` as the app's name throughout."""
    config = {**_defaults(), **stack_file(stack)["config"]}
    text = json.dumps(config).replace(PROJECT, project).replace(PROJECT.capitalize(), project.capitalize())
    renamed: dict[str, Any] = json.loads(text)
    return renamed


@cache
def _defaults() -> dict[str, Any]:
    project = yaml.safe_load((REPOSITORY / "Pulumi.yaml").read_text())["config"]
    return {f"{PROJECT}:{key}": declared["default"] for key, declared in project.items() if "default" in declared}


def _set(config: dict[str, Any], project: str, path: list[str], value: Any) -> None:
    section, *rest = path
    node, key = config, f"{project}:{section}"
    for part in rest:
        node, key = node.setdefault(key, {}), part
    node[key] = value


def _registration(urn: str, request: resource_pb2.RegisterResourceRequest) -> Registration:
    secret: set[str] = set()
    inputs = {key: _open(value, key, secret) for key, value in decode(request.object).items()}
    return Registration(
        urn=urn,
        type=request.type,
        name=request.name,
        custom=request.custom,
        inputs=inputs,
        secret_inputs=frozenset(secret),
        request=request,
    )


def _open(value: Any, path: str, secret: set[str]) -> Any:
    if isinstance(value, Secret):
        secret.add(path)
        return _open(value.value, path, secret)
    if isinstance(value, dict):
        return {key: _open(item, f"{path}.{key}", secret) for key, item in value.items()}
    if isinstance(value, list):
        return [_open(item, f"{path}[{index}]", secret) for index, item in enumerate(value)]
    return value


def _environment(directory: Path) -> AbstractContextManager[object]:
    """The environment that the providers need while the program runs."""
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(json.dumps({"contexts": [{"name": "homelab"}]}))
    variables = {
        "KUBECONFIG": str(kubeconfig),
        "OP_CONNECT_HOST": "http://127.0.0.1:9",
        "OP_CONNECT_TOKEN": "none",
        "GITLAB_BASE_URL": "http://127.0.0.1:9/api/v4/",
        "GITLAB_TOKEN": "none",
        "CLOUDFLARE_API_TOKEN": "none",
        "PULUMI_ERROR_OUTPUT_STRING": "true",
    }
    return mock.patch.dict(os.environ, variables)
