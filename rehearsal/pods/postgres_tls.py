"""PostgreSQL 18 with OpenSSL, which the wheel is built without: npm's server and libpq, under the wheel's clients."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from rehearsal.npm import installed
from rehearsal.pods.container import Mount

_SERVER: Final = ("postgres", "initdb", "pg_ctl")
_SSL: Final = ("libssl.so.1.1", "libcrypto.so.1.1")


@cache
def with_openssl(wheel: Path) -> Path:
    """Folder of the programs, in copies of the wheel's folder `wheel` and of npm's that any account may read.

    The copies exist until this process ends.
    """
    copies = Path(tempfile.mkdtemp(prefix="postgres-tls-"))
    atexit.register(shutil.rmtree, copies, ignore_errors=True)
    copies.chmod(0o755)
    libraries = copies / f"{wheel.name}.libs"
    programs = copies / wheel.name / "pginstall" / "bin"
    shutil.copytree(wheel.with_name(libraries.name), libraries, symlinks=True)
    shutil.copytree(wheel, copies / wheel.name, symlinks=True)
    (native,) = installed("postgres-tls").glob("@embedded-postgres/*/native")
    shutil.copytree(native, copies / "native", symlinks=True)
    # npm keeps no links, and the package's own script, which would create them, does not run.
    for link in json.loads((native / "pg-symlinks.json").read_text()):
        target = copies / link["target"]
        target.unlink(missing_ok=True)
        target.symlink_to(Path(link["source"]).name)
    (libpq,) = libraries.glob("libpq-*.so.5.*")
    libpq.unlink()
    shutil.copy(copies / "native" / "lib" / "libpq.so.5.18", libpq)
    for name in _SSL:
        shutil.copy(copies / "native" / "lib" / name, libraries)
    for name in _SERVER:
        program = copies / "native" / "bin" / name
        program.chmod(0o755)
        (programs / name).unlink()
        (programs / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        (programs / name).chmod(0o755)
    return programs


def write_secrets(
    pod: Any, secret: Callable[[str], Mapping[str, str]], folder: Path, account: Mapping[str, Any]
) -> Sequence[Mount]:
    """Writes the Secrets that the container of `pod` mounts, as a kubelet does: owned by root, readable by the group.

    Without root, the files belong to the server's user, for which PostgreSQL has another rule.
    """
    mounts = []
    by_volume = {volume.name: volume.secret for volume in pod.volumes if volume.secret is not None}
    for mount in pod.containers[0].volume_mounts:
        if mount.name not in by_volume:
            continue
        place = folder / mount.name
        place.mkdir(parents=True, exist_ok=True)
        for path in place.iterdir():
            path.unlink()
        for name, text in secret(by_volume[mount.name].secret_name).items():
            file = place / name
            file.write_text(text)
            file.chmod(by_volume[mount.name].default_mode if account else 0o600)
            if account:
                os.chown(file, 0, account["group"])
        mounts.append(Mount(path=mount.mount_path, folder=place))
    return mounts
