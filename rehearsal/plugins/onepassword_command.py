"""What the stand-in for the onepassword plugin does with a service account or the desktop app: it runs `op`.

Like terraform-provider-onepassword 2.2, it asks for the version before each call. Answers are JSON on standard output;
an error is a line on standard error that begins with [ERROR].
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from typing import Any, Final

from rehearsal.plugins.base import PluginError

_ERROR: Final = re.compile(r"^\[ERROR\] \S+ \S+ (.*)$", re.MULTILINE)


class Command:
    """`op` with the credentials of the provider's configuration."""

    def __init__(self, op: str, *, service: str, account: str) -> None:
        self._op = op
        given = {"OP_SERVICE_ACCOUNT_TOKEN": service, "OP_ACCOUNT": account}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OP_")}
        self._environment = kept | {name: value for name, value in given.items() if value} | {"OP_FORMAT": "json"}

    def vaults(self, name: str) -> list[dict[str, Any]]:
        """The vaults of that name."""
        return [one for one in self._run("vault", "list") if one["name"] == name]

    def vault(self, id_: str) -> dict[str, Any]:
        """The vault of that id."""
        found: dict[str, Any] = self._run("vault", "get", id_)
        return found

    def item(self, vault: str, reference: str) -> dict[str, Any]:
        """The one item of that id or title."""
        found: dict[str, Any] = self._run("item", "get", reference, f"--vault={vault}")
        return found

    def create(self, vault: str, item: Mapping[str, Any]) -> dict[str, Any]:
        """Creates an item."""
        made: dict[str, Any] = self._run("item", "create", "-", f"--vault={vault}", stdin=json.dumps(item))
        return made

    def update(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Replaces the whole item."""
        where = ("item", "edit", item["id"], f"--vault={item['vault']['id']}")
        made: dict[str, Any] = self._run(*where, stdin=json.dumps(item))
        return made

    def delete(self, vault: str, id_: str) -> None:
        """Deletes an item for good."""
        self._run("item", "delete", id_, f"--vault={vault}")

    def _run(self, *arguments: str, stdin: str = "") -> Any:
        for words in (("--version",), arguments):
            done = subprocess.run(
                [self._op, *words],
                env=self._environment,
                input=stdin if words is arguments else "",
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                refusal = _ERROR.search(done.stderr)
                raise PluginError(f"op error: {refusal[1] if refusal else done.stderr.strip()}")
        return json.loads(done.stdout) if done.stdout.strip() else None
