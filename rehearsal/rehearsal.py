"""One rehearsal: a control plane, the emulators, the plugins, and the program with an environment that points to them.

The program cannot tell the difference: it reads the same variables as the real plugins, which point to loopback here.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kubernetes
import yaml

from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.engine import Program, plugin_path
from rehearsal.plugins.fork_server import SOCKET
from rehearsal.plugins.fork_server import fork_server as start_fork_server
from rehearsal.processes import COLLECTING_LESS
from rehearsal.toolchain import Tools
from rehearsal.vendors.cloudflare import Cloudflare
from rehearsal.vendors.gitlab import GitLab
from rehearsal.vendors.onepassword import OnePassword
from rehearsal.vendors.server import serve

REPOSITORY = Path(__file__).parents[1]
STACKS = ("dev", "prod")

_ENCRYPTION = re.compile(r"^(encryptionsalt|encryptedkey|secretsprovider):.*\n?", re.MULTILINE)
"""The settings that `pulumi stack init` writes into a stack file and people commit."""

_FOREIGN = (
    "OP_SERVICE_ACCOUNT_TOKEN",
    "OP_ACCOUNT",
    "PULUMI_ACCESS_TOKEN",
    "PULUMI_CONFIG_PASSPHRASE_FILE",
    "PULUMI_STACK",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPATH",
    "VIRTUAL_ENV",
)
"""The caller's variables that would make a rehearsal reach outside itself, or slow it down."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """A running rehearsal and its parts; `start_rehearsal` makes it."""

    tools: Tools
    control_plane: ControlPlane
    program: Program
    onepassword: OnePassword
    gitlab: GitLab
    cloudflare: Cloudflare
    kinds: dict[str, str] = field(default_factory=dict)
    """For each plugin, a description that says whether it is real or a stand-in."""

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Output of `kubectl <arguments>` as the cluster's administrator; raises `CalledProcessError` if `check`."""
        return subprocess.run(
            [str(self.tools.kubectl), *arguments],
            env=dict(self.program.environment),
            stdout=subprocess.PIPE,
            text=True,
            check=check,
            input=stdin,
            timeout=300,
        ).stdout

    def get(self, *arguments: str, namespace: str) -> dict[str, Any]:
        """`kubectl get <arguments>` in a namespace: the object, or a list with its `items`."""
        found: dict[str, Any] = json.loads(self.kubectl("-n", namespace, "get", *arguments, "-o", "json"))
        return found

    def configure(self, stack: str, path: str, value: str) -> None:
        """Changes a setting in the rehearsal's copy of the stack file; `path` e.g. `app.resources.limits.memory`."""
        self.program.run("config", "set", "--stack", stack, "--plaintext", "--path", f"invoicetron:{path}", value)

    @property
    def engine_logs(self) -> Path:
        """The folder of the engine's automatic logs. A file is in its place, and the engine works without logs.

        Each command would log everything that engine and plugins say to each other, compressed and encrypted, and the
        logs would be deleted with the rehearsal. Pulumi has no setting that turns them off (docs/figures.md has the
        costs). Unlink the file to have the logs written.
        """
        return Path(self.program.environment["PULUMI_HOME"]) / "logs"

    @property
    def client(self) -> kubernetes.client.ApiClient:
        """A client of the API server with the administrator's rights."""
        return self.control_plane.client()


@contextmanager
def start_rehearsal(
    tools: Tools,
    control_plane: ControlPlane,
    directory: Path,
    *,
    stack_files: Path = REPOSITORY,
    onepassword: OnePassword | None = None,
    fork_server: Path | None = None,
) -> Iterator[Rehearsal]:
    """Starts the emulators and prepares plugins, backend and a copy of the program in `directory`.

    `stack_files`: the folder with the Pulumi.<stack>.yaml files for the copy. `onepassword`: one that has survived
    another rehearsal. `fork_server`: the folder of one that already runs, for rehearsals one after the other.
    """
    with ExitStack() as stack:
        onepassword = onepassword or OnePassword.seeded()
        onepassword_url = stack.enter_context(serve(onepassword.app))
        gitlab = GitLab.seeded()
        gitlab_url = stack.enter_context(serve(gitlab.app))
        cloudflare = Cloudflare()
        cloudflare_url = stack.enter_context(serve(cloudflare.app))
        kinds = plugin_path.populate(directory / "bin", os.environ, tools.pulumi)
        if fork_server is None:
            stack.enter_context(start_fork_server(directory / "bin", plugin_path.stand_ins(kinds)))
        else:
            (directory / "bin" / SOCKET).symlink_to(fork_server / SOCKET)
        plugin_path.cache(directory / "bin", directory / "pulumi", os.environ)
        state = directory / "state"
        state.mkdir()
        program_directory = directory / "program"
        copy_program(program_directory, stack_files)
        with (program_directory / "Pulumi.yaml").open("a") as project:
            yaml.safe_dump({"plugins": plugin_path.section(directory / "bin")}, project)
        inherited = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        environment = {
            **COLLECTING_LESS,
            **inherited,
            # `python` is this one, so that `python -m ops` works as it does in the program's own environment.
            "PATH": os.pathsep.join(
                [
                    str(directory / "bin"),
                    *(str(Path(tool).parent) for tool in (tools.pulumi, tools.kubectl, sys.executable)),
                    plugin_path.search_path(os.environ),
                ]
            ),
            plugin_path.DIRECTORY: str(directory / "bin"),
            "PULUMI_HOME": str(directory / "pulumi"),
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
            "PULUMI_BACKEND_URL": state.as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": secrets.token_urlsafe(24),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_ERROR_OUTPUT_STRING": "true",
            "KUBECONFIG": str(control_plane.kubeconfig),
            "OP_CONNECT_HOST": onepassword_url,
            "OP_CONNECT_TOKEN": onepassword.token,
            "GITLAB_BASE_URL": f"{gitlab_url}/api/v4/",
            "GITLAB_TOKEN": gitlab.token,
            "CLOUDFLARE_BASE_URL": f"{cloudflare_url}/client/v4",
            "CLOUDFLARE_API_TOKEN": cloudflare.token,
        }
        # The copy's policies: their `virtualenv` is the copy's too.
        policies = program_directory / "policies"
        program = Program(pulumi=tools.pulumi, directory=program_directory, environment=environment, policies=policies)
        rehearsal = Rehearsal(
            tools=tools,
            control_plane=control_plane,
            program=program,
            onepassword=onepassword,
            gitlab=gitlab,
            cloudflare=cloudflare,
            kinds=kinds,
        )
        rehearsal.engine_logs.touch()
        yield rehearsal


def copy_program(directory: Path, stack_files: Path) -> None:
    """Copies the program into `directory`: code as links, so that edits count; stack files as copies, for Pulumi.

    Its `virtualenv` is this interpreter's; without one, the real language host would make an empty one. The copied
    stack files lack the live stacks' encryption settings, whose salt belongs to another passphrase than a rehearsal's.
    """
    directory.mkdir()
    packages = ("settings", "lookups", "components", "ops", "policies")
    for source in (*REPOSITORY.glob("*.py"), *(REPOSITORY / package for package in packages)):
        (directory / source.name).symlink_to(source)
    (directory / ".venv").symlink_to(sys.prefix)
    for source in (REPOSITORY / "Pulumi.yaml", *stack_files.glob("Pulumi.*.yaml")):
        text = _ENCRYPTION.sub("", source.read_text(encoding="utf-8"))
        (directory / source.name).write_text(text, encoding="utf-8")
