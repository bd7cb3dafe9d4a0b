"""The parts of the engine's output that people read: what would change, and the lines that matter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from rich.text import Text
from rich.tree import Tree

_SECTIONS: Final = ("Policies:", "Policy Violations:", "Diagnostics:", "Outputs:", "Resources:")
_NEXT: Final = r"^(?: {0,3}\S| {4}(?:error|warning|debug): )"
_ERROR: Final = re.compile(rf"^(?: {{4}})?error: (.*?)(?={_NEXT}|\Z)", re.MULTILINE | re.DOTALL)
_WITHOUT_REASON: Final = frozenset(
    {
        "update failed",
        "preview failed",
        # Follows every `RunError`.
        "an unhandled error occurred: program exited with non-zero exit code: 1",
    }
)

_SIGNS: Final = {
    "create": ("+", "green"),
    "update": ("~", "yellow"),
    "delete": ("-", "red"),
    "replace": ("+-", "magenta"),
    "create-replacement": ("++", "magenta"),
    "delete-replaced": ("--", "magenta"),
    "import": ("=", "green"),
    "read": (">", "cyan"),
}


def tree(events: Iterable[Mapping[str, Any]]) -> Tree | None:
    """Every resource that a preview would change, with its operation, below its parent; None if nothing changes."""
    steps = [event["resourcePreEvent"]["metadata"] for event in events if "resourcePreEvent" in event]
    found: dict[str, Mapping[str, Any]] = {step["urn"]: step for step in steps if not _is_default_provider(step)}
    shown: set[str] = set()
    for urn, step in found.items():
        if step["op"] != "same":
            while urn in found and urn not in shown:
                shown.add(urn)
                urn = _parent(found[urn])  # noqa: PLW2901 - up to the stack
    root, nodes = Tree("", hide_root=True), dict[str, Tree]()

    def node(urn: str) -> Tree:
        if urn not in found:
            return root
        if urn not in nodes:
            nodes[urn] = node(_parent(found[urn])).add(_label(found[urn]))
        return nodes[urn]

    for urn in found:
        if urn in shown:
            node(urn)
    return root if nodes else None


def _is_default_provider(step: Mapping[str, Any]) -> bool:
    """Whether this is a provider that the engine makes for its own functions; it neither shows nor counts those."""
    return bool(step["type"].startswith("pulumi:providers:") and step["urn"].rsplit("::", 1)[-1].startswith("default"))


def _parent(step: Mapping[str, Any]) -> str:
    return str((step["new"] or step["old"])["parent"])


def _label(step: Mapping[str, Any]) -> Text:
    sign, colour = _SIGNS.get(step["op"], ("", ""))
    name = step["urn"].rsplit("::", 1)[-1]
    return Text.assemble((f"{sign} {step['op']}".strip(), colour), f" {name} ", (step["type"], "dim"))


def report(output: str) -> str:
    """What a command prints after its progress: policies, diagnostics, outputs, counts. Without these, all of it."""
    lines = output.splitlines()
    start = next((number for number, line in enumerate(lines) if line in _SECTIONS), 0)
    return "\n".join(lines[start:]).strip()


def what_matters(output: str) -> str:
    """The errors in a command's output, at most twelve lines; if there are none, the output's first lines."""
    errors = [error.strip() for error in _ERROR.findall(output)]
    named = [error for error in dict.fromkeys(errors) if error not in _WITHOUT_REASON]
    lines = [line.rstrip() for line in ("\n".join(named) or output).splitlines() if line.strip()]
    return "\n".join(lines[:12])
