"""Which Python runs a program: `toolchain` and `virtualenv` of its Pulumi.yaml, as the real language host reads them.

Source: pulumi 3.259, sdk/python/toolchain (`pip.go`, `toolchain.go`) and `parseOptions` of pulumi-language-python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LOCKS = {"uv.lock": "uv", "poetry.lock": "poetry"}
"""Files that select a toolchain if Pulumi.yaml names none; each is looked for from the program's folder upwards."""

_OPTIONS = {"virtualenv": (), "typechecker": ("mypy", "pyright"), "toolchain": ("pip", "poetry", "uv")}
"""The runtime's options, in the order in which the real host checks them, and their allowed values (empty: any)."""


class VirtualEnvironmentError(Exception):
    """The options cannot be applied; the message is the real host's, or says what the stand-in lacks."""


@dataclass(frozen=True, kw_only=True)
class VirtualEnvironment:
    """The toolchain "pip" with the option `virtualenv`; without the option the Python is the one on PATH."""

    option: str
    path: Path

    @classmethod
    def of(cls, root: Path, program: Path, options: Mapping[str, Any]) -> VirtualEnvironment:
        """From the options of the runtime; `virtualenv` is relative to `root`, the folder of Pulumi.yaml."""
        for name, known in _OPTIONS.items():
            given = options.get(name, "")
            if not isinstance(given, str):
                raise VirtualEnvironmentError(f"{name} option must be a string")
            if known and name in options and given not in known:
                raise VirtualEnvironmentError(f"unsupported {name} option: {given}")
        toolchain = options.get("toolchain") or _detected(program)
        if toolchain != "pip" or options.get("typechecker"):
            raise VirtualEnvironmentError(
                "the rehearsal's stand-in for the Python language host supports only the toolchain pip without a type "
                f"checker, not {toolchain} with {options.get('typechecker', 'no type checker')}; install Pulumi to use "
                "those"
            )
        option = options.get("virtualenv", "")
        # Joined as text, as the real host does: `..` after a link is the folder that holds the link.
        return cls(option=option, path=Path(os.path.normpath(root / option)))

    def ensure(self) -> None:
        """Creates the environment if its folder is missing or empty, without packages: those would need the network.

        The real host then installs requirements.txt, which a rehearsal's copy of the program does not have, and lists
        the packages; so a folder without a Python is refused with the error of that attempt.
        """
        if not self.option or self._is_one:
            return
        if self.path.exists() and not self.path.is_dir():
            raise VirtualEnvironmentError(
                f"the 'virtualenv' option in Pulumi.yaml is set to \"{self.path}\" but it is not a directory"
            )
        if not self.path.exists() or not any(self.path.iterdir()):
            made = subprocess.run(
                [_ambient_python(), "-m", "venv", "--without-pip", str(self.path)],
                capture_output=True,
                text=True,
                check=False,
            )
            if made.returncode:
                raise VirtualEnvironmentError(
                    f"creating virtual environment at '{self.path}': exit status {made.returncode}\n{made.stderr}"
                )
        if not self._is_one:
            raise VirtualEnvironmentError(
                f"calling `{self.python} -m pip list --format json`: fork/exec {self.python}: no such file or directory"
            )

    def validate(self) -> None:
        """Raises `VirtualEnvironmentError` if the option names a folder without a Python."""
        if not self.option or self._is_one:
            return
        lacks = "doesn't appear to be a virtual environment" if self.path.exists() else "doesn't exist"
        raise VirtualEnvironmentError(
            f'The \'virtualenv\' option in Pulumi.yaml is set to "{self.option}", but "{self.path}" {lacks}; run the '
            "following commands to create the virtual environment and install dependencies into it:\n\n"
            f"    1. python3 -m venv {self.path}\n"
            f"    2. {self.path}/bin/python -m pip install --upgrade pip setuptools wheel\n"
            f"    3. {self.path}/bin/python -m pip install -r requirements.txt\n\n\n"
            "For more information see: https://www.pulumi.com/docs/intro/languages/python/#virtual-environments"
        )

    @property
    def python(self) -> str:
        """The interpreter's path, whether or not it exists."""
        return str(self.path / "bin" / "python") if self.option else _ambient_python()

    def activated(self, environment: Mapping[str, str]) -> dict[str, str]:
        """`environment` with this virtual environment activated."""
        if not self.option:
            return dict(environment)
        path = os.pathsep.join([str(self.path / "bin"), *filter(None, [environment.get("PATH")])])
        kept = {name: value for name, value in environment.items() if name != "PYTHONHOME"}
        return {**kept, "PATH": path, "VIRTUAL_ENV": str(self.path)}

    @property
    def _is_one(self) -> bool:
        return (self.path / "bin" / "python").is_file()


def _detected(program: Path) -> str:
    for lock, toolchain in _LOCKS.items():
        if any((folder / lock).exists() for folder in (program, *program.parents)):
            return toolchain
    return "pip"


def _ambient_python() -> str:
    command = os.environ.get("PULUMI_PYTHON_CMD")
    names = [command] if command else ["python3", "python"]
    for name in names:
        if found := shutil.which(name):
            return found
    raise VirtualEnvironmentError(
        f"failed to locate any of {names} on your PATH. Have you installed Python 3.6 or greater?"
    )
