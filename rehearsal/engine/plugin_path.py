"""Which plugins the engine finds: the real ones where they are installed, else stand-ins."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

from rehearsal.engine import dynamic_provider
from rehearsal.plugins import fork_server

HOST = "python language host"
PROVIDERS = ("kubernetes", "onepassword", "gitlab", "cloudflare")

DIRECTORY = "REHEARSAL_BIN"
"""The variable that holds the directory that a rehearsal fills and puts first on PATH; a nested rehearsal reads it."""

_STAND_IN = "a stand-in (rehearsal/plugins)"
_STAND_IN_HOST = "rehearsal.engine.language_host"
_HOST = "pulumi-language-python"
_DYNAMIC_PROVIDER = "pulumi-resource-pulumi-python"
_WATCHED = Path(__file__).with_name("watched.py")
_DYNAMIC = "rehearsal.engine.dynamic_provider"


EVERY_STAND_IN = (*(f"rehearsal.plugins.{name}" for name in PROVIDERS), _STAND_IN_HOST, _DYNAMIC)
"""The modules of all stand-ins."""


class PluginChoice(StrEnum):
    """The values of `REHEARSAL_PLUGINS`."""

    REAL = "real"
    STANDIN = "standin"
    AUTO = "auto"


class PluginsMissingError(Exception):
    """`REHEARSAL_PLUGINS=real`, and a real plugin or the real language host is not installed."""


def choice(environment: Mapping[str, str]) -> PluginChoice:
    """What `REHEARSAL_PLUGINS` asks for; `auto` if it is not set. Raises `PluginsMissingError` for anything else."""
    asked = environment.get("REHEARSAL_PLUGINS", PluginChoice.AUTO)
    try:
        return PluginChoice(asked)
    except ValueError:
        allowed = ", ".join(PluginChoice)
        raise PluginsMissingError(f"REHEARSAL_PLUGINS is {asked!r}; it may be one of: {allowed}") from None


def search_path(environment: Mapping[str, str]) -> str:
    """PATH without the directory of an outer rehearsal, whose stand-ins would pass for the real plugins."""
    return os.pathsep.join(
        entry for entry in environment["PATH"].split(os.pathsep) if entry != environment.get(DIRECTORY)
    )


def populate(directory: Path, environment: Mapping[str, str], pulumi: Path) -> dict[str, str]:
    """Fills `directory` with one executable for each provider, the language host and the dynamic provider.

    A real language host is on PATH or beside `pulumi`, where the engine looks too, and brings its own dynamic provider.
    Returns a description of each provider and of the host, for people. Raises `PluginsMissingError`.
    """
    choice_, path = choice(environment), search_path(environment)
    directory.mkdir(parents=True, exist_ok=True)
    real = {name: _installed(f"pulumi-resource-{name}", path, environment) for name in PROVIDERS}
    host = shutil.which(_HOST, path=path) or shutil.which(_HOST, path=str(pulumi.resolve().parent))
    missing = [f"pulumi plugin install resource {name}" for name in PROVIDERS if real[name] is None]
    if host is None:
        missing.append(f"{_HOST}: comes with Pulumi, https://www.pulumi.com/docs/install")
    if choice_ is PluginChoice.REAL and missing:
        raise PluginsMissingError(
            "REHEARSAL_PLUGINS=real, but these are neither on PATH nor in PULUMI_HOME; what installs them:\n  "
            + "\n  ".join(missing)
            + "\nREHEARSAL_PLUGINS=auto uses the stand-ins in their place."
        )
    kinds = {}
    for name in PROVIDERS:
        executable = directory / f"pulumi-resource-{name}"
        plugin = None if choice_ is PluginChoice.STANDIN else real[name]
        if plugin is not None:
            executable.symlink_to(plugin)
            kinds[name] = f"the real plugin ({plugin})"
        else:
            _wrap(executable, fork_server.client(directory, f"rehearsal.plugins.{name}"))
            kinds[name] = _STAND_IN
    if choice_ is PluginChoice.STANDIN or host is None:
        _wrap(directory / _HOST, fork_server.client(directory, _STAND_IN_HOST))
        _wrap(
            directory / _DYNAMIC_PROVIDER,
            shlex.join(dynamic_provider.COMMAND),
            fork=fork_server.client(directory, _DYNAMIC),
        )
        kinds[HOST] = "a stand-in (rehearsal/engine/language_host.py)"
    else:
        _wrap(directory / _HOST, shlex.join([sys.executable, "-I", "-S", str(_WATCHED), host]))
        kinds[HOST] = f"the real one ({host})"
    return kinds


def section(directory: Path) -> dict[str, list[dict[str, str]]]:
    """The section `plugins` of a Pulumi.yaml, naming what `populate` made.

    The engine also finds all of them on PATH, but then every command warns of each plugin that comes from there.
    """
    names = {
        kind: sorted(file.name.removeprefix(prefix) for file in directory.glob(f"{prefix}*"))
        for kind, prefix in (("providers", "pulumi-resource-"), ("languages", "pulumi-language-"))
    }
    return {kind: [{"name": name, "path": str(directory)} for name in found] for kind, found in names.items()}


def cache(directory: Path, home: Path, environment: Mapping[str, str]) -> None:
    """Puts what `populate` made into the plugin cache of `home`, Pulumi's folder, for projects without `section`.

    A second app's project is one. They also need PULUMI_IGNORE_AMBIENT_PLUGINS: without it, the engine prefers plugins
    on PATH, and warns. Even with it, the engine prefers a language host that came with it.
    """
    executables = {file.name: file for file in directory.glob("pulumi-*-*")}
    # A real host's dynamic provider may be only on PATH.
    if dynamic := shutil.which(_DYNAMIC_PROVIDER, path=search_path(environment)):
        executables.setdefault(_DYNAMIC_PROVIDER, Path(dynamic))
    for file_name, executable in executables.items():
        name = file_name.removeprefix("pulumi-")
        provider = name.removeprefix("resource-")
        # The program asks for the version of the provider's SDK.
        package = f"pulumi_{provider}" if provider in PROVIDERS else "pulumi"
        folder = home / "plugins" / f"{name}-v{version(package)}"
        folder.mkdir(parents=True)
        (folder / file_name).symlink_to(executable)


def stand_ins(kinds: Mapping[str, str]) -> list[str]:
    """The modules of the stand-ins among what `populate` returned."""
    providers = [f"rehearsal.plugins.{name}" for name in PROVIDERS if kinds[name] == _STAND_IN]
    return [*providers, *([_STAND_IN_HOST, _DYNAMIC] if "stand-in" in kinds[HOST] else [])]


def _installed(executable: str, path: str, environment: Mapping[str, str]) -> Path | None:
    on_path = shutil.which(executable, path=path)
    if on_path is not None:
        return Path(on_path)
    home = Path(environment.get("PULUMI_HOME", Path.home() / ".pulumi"))
    name = executable.removeprefix("pulumi-")
    found = sorted(home.glob(f"plugins/{name}-v*/{executable}"), key=lambda path: path.parent.stat().st_mtime)
    # As in `search_path`: an outer rehearsal's stand-ins are in its `cache`, too.
    around = environment.get(DIRECTORY)
    own = [path for path in found if around is None or path.resolve().parent != Path(around).resolve()]
    return own[-1] if own else None


def _wrap(executable: Path, command: str, *, fork: str = "") -> None:
    """`fork` runs instead of the command if the program has this interpreter's environment."""
    prefix = shlex.quote(str(Path(sys.prefix).resolve()))
    ours = (
        'environment=$(cd "${PULUMI_RUNTIME_VIRTUALENV:-.}" 2>/dev/null && pwd)\n'
        f'[ "$(cd "$environment" && pwd -P)" = {prefix} ] && unset PYTHONHOME &&\n'
        f'\tPATH=$environment/bin:$PATH exec {fork} "$@"\n'
    )
    executable.write_text(f'#!/bin/sh\n{ours if fork else ""}exec {command} "$@"\n')
    executable.chmod(0o755)
