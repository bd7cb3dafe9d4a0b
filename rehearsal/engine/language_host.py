"""The Python language host of a rehearsal whose engine was built from its Go module.

An engine installed from pulumi.com brings `pulumi-language-python`; a self-built engine has none, because no package
registry publishes it. This `LanguageRuntime` does what the engine asks of it for this program, with the Python that
Pulumi.yaml's `virtualenv` names: run it, run its policy pack, say which Python it is. Like the real host, it starts a
process for each run, so that every run imports the program again. It does not generate code or install dependencies.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from rehearsal.engine.virtual_environment import VirtualEnvironment, VirtualEnvironmentError
from rehearsal.plugins.base import serve_engine

BAIL = 32
"""Exit status of a program that failed and has reported why (`pulumi-language-python-exec` uses the same)."""

PATIENCE = 5.0
"""Seconds that an interrupted program has to end (`WaitDelay` of the real host)."""

_RUN_PROGRAM = Path(__file__).with_name("run_program.py")


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """`LanguageRuntime` of one engine."""

    def __init__(self, engine_address: str) -> None:
        self._engine_address = engine_address
        self._programs: set[subprocess.Popen[bytes]] = set()

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802 - gRPC's names
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802 - gRPC's names
        return plugin_pb2.PluginInfo(version="0.0.0-rehearsal")

    def GetRequiredPlugins(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802 - gRPC's names
        return language_pb2.GetRequiredPluginsResponse()

    def GetRequiredPackages(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        """None: every plugin of a rehearsal is on PATH, and nothing needs downloading."""
        _virtual_environment(request.info, context, VirtualEnvironment.ensure)
        return language_pb2.GetRequiredPackagesResponse()

    def About(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        python = _virtual_environment(request.info, context).python
        said = subprocess.run([python, "--version"], capture_output=True, text=True, check=False).stdout
        return language_pb2.AboutResponse(executable=python, version=said.strip().removeprefix("Python "))

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802 - gRPC's names
        """The user asks to stop (Ctrl-C)."""
        for program in list(self._programs):
            _interrupt(program)
        return empty_pb2.Empty()

    def Run(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - gRPC's name
        virtual = _virtual_environment(request.info, context, VirtualEnvironment.validate)
        environment = virtual.activated(_program_environment())
        # Through the environment and not as arguments: the configuration may hold decrypted secrets.
        environment["PULUMI_CONFIG"] = json.dumps(dict(request.config))
        environment["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(list(request.configSecretKeys))
        run = {
            "project": request.project,
            "stack": request.stack,
            "organization": request.organization or "organization",
            "root_directory": request.info.root_directory,
            "program_directory": request.info.program_directory,
            "entry_point": request.info.entry_point,
            "engine_address": request.args[0] if request.args else self._engine_address,
            "monitor_address": request.monitor_address,
            "parallel": request.parallel,
            "preview": request.dryRun,
        }
        program = subprocess.Popen(
            [virtual.python, "-u", "-P", str(_RUN_PROGRAM), json.dumps(run)],
            cwd=request.pwd or None,
            env=environment,
        )
        self._programs.add(program)
        # The engine ends this call to stop the program: after something has failed, and on Ctrl-C.
        if not context.add_callback(lambda: _interrupt(program)):
            _interrupt(program)
        status = program.wait()
        self._programs.discard(program)
        if status == BAIL:
            return language_pb2.RunResponse(bail=True)
        if status:
            return language_pb2.RunResponse(error=f"program exited with non-zero exit code: {max(status, -1)}")
        return language_pb2.RunResponse()

    def RunPlugin(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:  # noqa: N802 - gRPC's name
        """Runs a policy pack (`kind` "analyzer"): its output, line by line, then its exit status."""
        if request.kind != "analyzer":
            context.abort(
                grpc.StatusCode.UNIMPLEMENTED,
                f"the stand-in for the Python language host runs only programs and policy packs, not {request.kind}",
            )
        virtual = _virtual_environment(request.info, context)
        environment = {**_program_environment(), **dict(pair.split("=", 1) for pair in request.env)}
        plugin = subprocess.Popen(
            [virtual.python, "-u", "-m", "pulumi.policy", *request.args, request.info.program_directory],
            cwd=request.info.program_directory,
            env=virtual.activated(environment),
            stdout=subprocess.PIPE,
        )
        context.add_callback(plugin.terminate)
        assert plugin.stdout is not None  # noqa: S101 - a pipe was asked for
        for line in plugin.stdout:
            yield language_pb2.RunPluginResponse(stdout=line)
        yield language_pb2.RunPluginResponse(exitcode=plugin.wait())


def _virtual_environment(
    info: Any,
    context: grpc.ServicerContext,
    check: Callable[[VirtualEnvironment], None] = lambda _: None,
) -> VirtualEnvironment:
    """The program's virtual environment, after `check`; a problem with it aborts the call."""
    try:
        found = VirtualEnvironment.of(
            Path(info.root_directory), Path(info.program_directory), MessageToDict(info.options)
        )
        check(found)
    except VirtualEnvironmentError as error:
        context.abort(grpc.StatusCode.UNKNOWN, str(error))
        raise AssertionError("abort always raises") from error
    return found


def _interrupt(program: subprocess.Popen[bytes]) -> None:
    """Sends SIGINT, like the real host; SIGKILL if the program does not end."""
    if program.poll() is None:
        program.send_signal(signal.SIGINT)
        try:
            program.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            program.kill()


def _program_environment() -> dict[str, str]:
    """The program's environment, without the path on which it would find the rehearsal."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def main() -> None:
    """Prints the port and serves until the engine ends or interrupts this process."""
    engine_address = next((argument for argument in reversed(sys.argv[1:]) if not argument.startswith("-")), "")
    host = LanguageHost(engine_address)
    serve_engine(partial(language_pb2_grpc.add_LanguageRuntimeServicer_to_server, host), workers=8)
    # A program that still runs loses its connection to the engine and ends; there is nothing to wait for.
    os._exit(0)


if __name__ == "__main__":
    main()
