"""What a `pulumi preview --json` says, for the reviewer of a merge request.

Two forms: the counts that GitLab's merge request widget shows (`artifacts:reports:terraform`), and a comment with the
changed property paths. Neither ever holds a property's value, so neither can hold a secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

NOTE_LIMIT: Final = 1_000_000
"""Characters of a GitLab note (docs.gitlab.com, "Instance limits": comments)."""

_CREATES = frozenset({"create", "create-replacement", "import", "import-replacement"})
_DELETES = frozenset({"delete", "delete-replaced"})
_REPLACES = frozenset({"create-replacement", "import-replacement"})
_SILENT = frozenset({"same", "read", "refresh", "replace", "delete-replaced", "discard", "read-discard"})
"""Steps that are no row: nothing changes, or another step of the same resource says it."""

_ORDER = ("delete", "create-replacement", "import-replacement", "update", "import", "create")
_WORDS = {
    "delete": "**delete**",
    "create-replacement": "**replace**",
    "import-replacement": "**replace**",
    "update": "update",
    "import": "import",
    "create": "create",
}


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource that would change, and the paths of the properties that differ."""

    operation: str
    type: str
    name: str
    paths: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The changes of one preview, the most dangerous first, and what the engine complained about."""

    changes: tuple[Change, ...]
    counts: Mapping[str, int]
    errors: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Preview:
        """Reads the output of `pulumi preview --json`; raises `ValueError` where it is not that."""
        try:
            document = json.loads(text)
            steps = document.get("steps", [])
            changes = [_change(step) for step in steps if step["op"] not in _SILENT]
        except (json.JSONDecodeError, KeyError, AttributeError) as error:
            raise ValueError(f"not the output of `pulumi preview --json`: {error}") from error
        operations = [step["op"] for step in steps]
        counts = {
            "create": sum(operation in _CREATES for operation in operations),
            "update": operations.count("update"),
            "delete": sum(operation in _DELETES for operation in operations),
        }
        errors = tuple(one["message"] for one in document.get("diagnostics", []) if one.get("severity") == "error")
        changes.sort(key=lambda change: (_ORDER.index(change.operation), change.type, change.name))
        return cls(changes=tuple(changes), counts=counts, errors=errors)


def widget(preview: Preview) -> str:
    """The counts, as `artifacts:reports:terraform` wants them (docs.gitlab.com, "Terraform integration")."""
    return json.dumps(dict(preview.counts))


def marker(stack: str) -> str:
    """Hidden in a comment, so that the next pipeline finds its own and edits it."""
    return f"<!-- invoicetron preview: {stack} -->"


def comment(preview: Preview, *, stack: str, job_url: str, rehearsed: bool = False, limit: int = NOTE_LIMIT) -> str:
    """The comment on the merge request, at most `limit` characters; what is cut off is in the job's log.

    `rehearsed`: the pipeline had no credentials of the stack, so this is the preview of a first `up` in the rehearsal.
    """
    head = [marker(stack), f"### `pulumi preview` of {stack}", ""]
    if rehearsed:
        head += [
            (
                "This pipeline may not read the stack's credentials. This is the **rehearsal's** preview: every "
                "resource as it would be made from nothing, not what would change in the live stack."
            ),
            "",
        ]
    counts = ", ".join(f"{number} to {operation}" for operation, number in preview.counts.items() if number)
    head += [counts or "No changes.", ""]
    tail = ["", f"[The whole preview]({job_url})"]
    body = [*_errors(preview), *_table(preview)]
    details = _details(preview)
    whole = "\n".join([*head, *body, *details, *tail])
    if len(whole) <= limit:
        return whole
    cut = ["", "_Cut to GitLab's limit: the rest is in the job's log._"]
    room = limit - len("\n".join([*head, *cut, *tail])) - 1
    kept: list[str] = []
    for line in body:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join([*head, *kept, *cut, *tail])


def _change(step: Mapping[str, Any]) -> Change:
    type_, name = step["urn"].split("::")[-2:]
    diff = step.get("detailedDiff") or dict.fromkeys(step.get("diffReasons") or ())
    return Change(operation=step["op"], type=type_.rsplit("$", 1)[-1], name=name, paths=tuple(sorted(diff)))


def _errors(preview: Preview) -> list[str]:
    if not preview.errors:
        return []
    return ["The preview failed; the messages are in the job's log.", ""]


def _table(preview: Preview) -> list[str]:
    if not preview.changes:
        return []
    rows = [f"| {_WORDS[change.operation]} | `{change.type}` | `{change.name}` |" for change in preview.changes]
    return ["| | type | name |", "| --- | --- | --- |", *rows]


def _details(preview: Preview) -> list[str]:
    lines = []
    for change in preview.changes:
        if change.paths:
            paths = "\n".join(f"- `{path}`" for path in change.paths)
            lines.append(f"\n<details><summary>{change.name}</summary>\n\n{paths}\n\n</details>")
    return lines
