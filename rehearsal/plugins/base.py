"""The gRPC side of a stand-in plugin: `ResourceProvider`, in plain Python values.

A plugin is a process that the engine starts as `pulumi-resource-<name>`; it prints the port it listens on and serves
until the engine asks it to stop. A stand-in subclasses `Plugin` and ends with `serve(MyPlugin())`.
"""

from __future__ import annotations

import os
import select
import signal
import stat
import sys
import threading
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from typing import Any, ClassVar, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from rehearsal.plugins.values import Properties, decode, encode, plain

_Response = TypeVar("_Response")


class PluginError(Exception):
    """An operation failed; the message is what the engine shows the user."""


class CheckFailedError(Exception):
    """Inputs that the provider refuses: property name to reason."""

    def __init__(self, failures: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in failures.items()))
        self.failures = failures


class InitFailedError(Exception):
    """The object exists but never became ready. The engine records it with the reasons and retries with an Update."""

    def __init__(self, id_: str, outputs: Properties, inputs: Properties, reasons: Sequence[str]) -> None:
        super().__init__("; ".join(reasons))
        self.id, self.outputs, self.inputs, self.reasons = id_, outputs, inputs, list(reasons)


class DiffKind(IntEnum):
    """How a property differs (`PropertyDiff.Kind`)."""

    ADD = 0
    ADD_REPLACE = 1
    DELETE = 2
    DELETE_REPLACE = 3
    UPDATE = 4
    UPDATE_REPLACE = 5


@dataclass(frozen=True, kw_only=True)
class Diff:
    """What an update would change: property path to kind; one replacing kind replaces the whole resource."""

    changes: Mapping[str, DiffKind] = field(default_factory=dict)
    delete_before_replace: bool = False
    input_diff: bool = True
    """Whether the old values that the engine shows are recorded inputs; else recorded outputs, except for deletions."""

    @property
    def replaces(self) -> list[str]:
        """The paths that force a replacement."""
        kinds = (DiffKind.ADD_REPLACE, DiffKind.DELETE_REPLACE, DiffKind.UPDATE_REPLACE)
        return [path for path, kind in self.changes.items() if kind in kinds]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request about one resource. `olds` are the last outputs, `old_inputs` the last inputs."""

    urn: str
    id: str = ""
    inputs: Properties = field(default_factory=dict)
    olds: Properties = field(default_factory=dict)
    old_inputs: Properties = field(default_factory=dict)
    ignore_changes: tuple[str, ...] = ()
    timeout: float = 0.0  # seconds; 0 means the provider's own default
    preview: bool = False

    @property
    def type(self) -> str:
        """The type token of the resource, e.g. `kubernetes:core/v1:Secret`."""
        return self.urn.split("::")[2].rsplit("$", 1)[-1]

    @property
    def name(self) -> str:
        """The name of the resource in the program."""
        return self.urn.split("::")[3]


@dataclass(frozen=True, kw_only=True)
class State:
    """A resource as the provider found it: its id, its outputs, and its inputs in the shape of the last ones."""

    id: str
    outputs: Properties
    inputs: Properties


class Plugin(ABC):
    """What a stand-in implements. All values may hold `Secret` and, in previews, `UNKNOWN`."""

    version: ClassVar[str]

    def check_config(self, news: Properties) -> Properties:
        """The provider's own inputs; raises `CheckFailedError`."""
        return news

    def diff_config(self, olds: Properties, news: Properties) -> Diff:
        """What a change of the provider's inputs means; by default an update, never a replacement."""
        return Diff(changes={k: DiffKind.UPDATE for k in olds.keys() | news.keys() if olds.get(k) != news.get(k)})

    def configure(self, config: Properties) -> None:
        """Called once, before anything else; `config` is plain (secret marks removed)."""

    def check(self, call: Call) -> Properties:
        """The inputs to record; raises `CheckFailedError`."""
        return call.inputs

    @abstractmethod
    def diff(self, call: Call) -> Diff:
        """What differs between `old_inputs`/`olds` and `inputs`."""

    @abstractmethod
    def create(self, call: Call) -> tuple[str, Properties]:
        """Creates the object; returns its id and outputs. In a preview, it creates nothing."""

    @abstractmethod
    def read(self, call: Call) -> State | None:
        """The object as it is now (`old_inputs` empty: an import); None if it is gone."""

    @abstractmethod
    def update(self, call: Call) -> Properties:
        """Changes the object; returns its outputs. In a preview, it changes nothing."""

    @abstractmethod
    def delete(self, call: Call) -> None:
        """Deletes the object."""

    def cancel(self) -> None:
        """The user asks to stop (Ctrl-C): waiting operations give up, whichever thread they run in."""

    def invoke(self, token: str, args: Properties) -> Properties:
        """A provider function."""
        raise PluginError(f"this stand-in does not support the function {token} with arguments {sorted(args)}")


class _Servicer(provider_pb2_grpc.ResourceProviderServicer):
    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802 - gRPC's names
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True)

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802 - gRPC's names
        return plugin_pb2.PluginInfo(version=self._plugin.version)

    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        def run() -> Any:
            self._plugin.configure(plain(decode(request.args)))
            return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

        return _answer(context, run)

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        return _checked(context, lambda: self._plugin.check_config(decode(request.news)))

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        olds = decode(request.old_inputs) or decode(request.olds)
        return _answer(context, lambda: _diff_response(self._plugin.diff_config(olds, decode(request.news))))

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        call = Call(urn=request.urn, inputs=decode(request.news), old_inputs=decode(request.olds))
        return _checked(context, lambda: self._plugin.check(call))

    def Diff(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        return _answer(context, lambda: _diff_response(self._plugin.diff(_call(request, inputs=request.news))))

    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        call = Call(
            urn=request.urn, inputs=decode(request.properties), timeout=request.timeout, preview=request.preview
        )

        def run() -> Any:
            id_, outputs = self._plugin.create(call)
            return provider_pb2.CreateResponse(id=id_, properties=encode(outputs))

        return _answer(context, run)

    def Read(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        call = Call(urn=request.urn, id=request.id, olds=decode(request.properties), old_inputs=decode(request.inputs))

        def run() -> Any:
            state = self._plugin.read(call)
            if state is None:
                return provider_pb2.ReadResponse()
            return provider_pb2.ReadResponse(id=state.id, properties=encode(state.outputs), inputs=encode(state.inputs))

        return _answer(context, run)

    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        call = _call(request, inputs=request.news, timeout=request.timeout, preview=request.preview)
        return _answer(context, lambda: provider_pb2.UpdateResponse(properties=encode(self._plugin.update(call))))

    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        call = Call(
            urn=request.urn,
            id=request.id,
            olds=decode(request.properties),
            old_inputs=decode(request.old_inputs),
            timeout=request.timeout,
        )

        def run() -> Any:
            self._plugin.delete(call)
            return empty_pb2.Empty()

        return _answer(context, run)

    def Invoke(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        def run() -> Any:
            result = self._plugin.invoke(request.tok, plain(decode(request.args)))
            # The bridge strips secrets from what functions return: the real plugins' results are plain.
            fields: dict[str, Any] = {"return": encode(plain(result))}
            return provider_pb2.InvokeResponse(**fields)

        return _answer(context, run)

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802 - gRPC's names
        self._plugin.cancel()
        return empty_pb2.Empty()


def _call(request: Any, *, inputs: Any, timeout: float = 0.0, preview: bool = False) -> Call:
    return Call(
        urn=request.urn,
        id=request.id,
        inputs=decode(inputs),
        olds=decode(request.olds),
        old_inputs=decode(request.old_inputs),
        ignore_changes=tuple(request.ignoreChanges),
        timeout=timeout,
        preview=preview,
    )


def _diff_response(diff: Diff) -> Any:
    some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
    deletions = (DiffKind.DELETE, DiffKind.DELETE_REPLACE)
    return provider_pb2.DiffResponse(
        changes=some if diff.changes else none,
        replaces=diff.replaces,
        deleteBeforeReplace=diff.delete_before_replace,
        diffs=sorted({path.split(".")[0].split("[")[0] for path in diff.changes}),
        hasDetailedDiff=True,
        detailedDiff={
            path: provider_pb2.PropertyDiff(
                kind=kind.value,  # type: ignore[arg-type] # the stub wants the nominal enum
                inputDiff=diff.input_diff or kind in deletions,
            )
            for path, kind in diff.changes.items()
        },
    )


def _checked(context: grpc.ServicerContext, check: Callable[[], Properties]) -> Any:
    def run() -> Any:
        try:
            return provider_pb2.CheckResponse(inputs=encode(check()))
        except CheckFailedError as error:
            failures = [provider_pb2.CheckFailure(property=p, reason=r) for p, r in error.failures.items()]
            return provider_pb2.CheckResponse(failures=failures)

    return _answer(context, run)


def _answer(context: grpc.ServicerContext, run: Callable[[], _Response]) -> _Response:
    """Runs one request; an exception becomes the gRPC status that the engine understands."""
    try:
        return run()
    except InitFailedError as error:
        detail = any_pb2.Any()
        detail.Pack(
            provider_pb2.ErrorResourceInitFailed(
                id=error.id,
                properties=encode(error.outputs),
                inputs=encode(error.inputs),
                reasons=error.reasons,
            )
        )
        _abort(context, grpc.StatusCode.UNKNOWN, str(error), [detail])
    except PluginError as error:
        _abort(context, grpc.StatusCode.UNKNOWN, str(error), [])
    except Exception as error:  # noqa: BLE001 - a plugin that dies ends the whole update
        traceback.print_exc(file=sys.stderr)
        _abort(context, grpc.StatusCode.INTERNAL, f"{type(error).__name__}: {error}", [])
    raise AssertionError("abort always raises")


def _abort(context: grpc.ServicerContext, code: grpc.StatusCode, message: str, details: list[any_pb2.Any]) -> None:
    status = status_pb2.Status(code=code.value[0], message=message, details=details)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, message)


def serve(plugin: Plugin) -> None:
    """Serves the plugin until the engine stops it."""
    serve_engine(partial(provider_pb2_grpc.add_ResourceProviderServicer_to_server, _Servicer(plugin)), workers=32)


def serve_engine(add_servicer: Callable[[grpc.Server], None], *, workers: int) -> None:
    """Prints the port of a gRPC server and serves until the engine ends or interrupts this process."""
    stopped = threading.Event()
    # The engine gives each plugin its own process group, so that Ctrl-C does not reach it. To end a plugin, it sends
    # SIGINT, and SIGKILL five seconds later. It may do so as soon as it has read the port.
    for signal_ in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_, lambda *_: stopped.set())
    server = grpc.server(ThreadPoolExecutor(max_workers=workers), options=_GRPC_CHANNEL_OPTIONS)
    add_servicer(server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    _wait_for_engine(stopped)
    server.stop(grace=1)


def _wait_for_engine(stopped: threading.Event) -> None:
    """Returns once `stopped` is set or the engine that started this process is gone, for instance killed."""
    engine = os.getppid()
    while not stopped.wait(0.5):
        if os.getppid() != engine or _has_hung_up():
            return


def _has_hung_up() -> bool:
    """Whether standard input is a pipe whose other end nobody holds; all of the engine's plugins have such a pipe.

    The parent's id alone does not show that the engine was killed before we first looked.
    """
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return False
    poll = select.poll()
    poll.register(0, 0)
    return bool(poll.poll(0))
