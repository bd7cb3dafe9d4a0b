"""The result of one preview, for the reviewer of a merge request.

It has three forms: the counts that GitLab's merge request widget shows (`artifacts:reports:terraform`), a comment with
the changed property paths, and the job's log. None ever contains a property's value, so none can contain a secret of
the stack.

The source is the events that `pulumi preview --json` streams with PULUMI_ENABLE_STREAMING_JSON_PREVIEW. The single
document that it prints otherwise lacks policy violations, and shows what the refresh found as if the program changed
it: an image that the app's pipeline has deployed would appear as an update of the Deployment.
"""

from __future__ import annotations

import html
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from settings.names import PROGRAM

NOTE_LIMIT: Final = 1_000_000
"""Maximum number of characters in a GitLab note (docs.gitlab.com, "Instance limits": comments)."""

STREAMED: Final = {"PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true"}
"""Environment variables that a preview needs so that `Preview.parse` can read its output."""


class Action(IntEnum):
    """What would happen to a resource, the most dangerous first."""

    DELETE = 0
    REPLACE = 1
    UPDATE = 2
    IMPORT = 3
    CREATE = 4


_ACTIONS: Final[Mapping[str, Action]] = {
    "delete": Action.DELETE,
    # The steps of one replacement, in any order; together they are one row.
    "replace": Action.REPLACE,
    "create-replacement": Action.REPLACE,
    "import-replacement": Action.REPLACE,
    "delete-replaced": Action.REPLACE,
    "update": Action.UPDATE,
    "import": Action.IMPORT,
    "create": Action.CREATE,
}
"""Actions by the engine's operation; all other operations (same, read, refresh and the like) change nothing."""

_CREDENTIALS: Final = {
    "pulumi:providers:onepassword": frozenset({"url", "token", "serviceAccountToken", "account", "opCliPath"})
}
"""For each provider type, what its plugin records from its environment, whatever the program says.

A preview has other credentials than the `up` before it, so these values differ, but they change nothing.
"""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One resource that would change."""

    action: Action
    type: str
    name: str
    paths: Mapping[str, bool]
    """The properties that differ, and whether each forces the replacement."""


@dataclass(frozen=True, kw_only=True)
class Violation:
    """A policy that a resource, or the stack as a whole, violates."""

    policy: str
    resource: str
    message: str
    """The policy's message; it may quote the program, so it appears only in the job's log."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The changes in one preview, the most dangerous first, and what the engine and the policies complained about."""

    changes: tuple[Change, ...]
    recorded: tuple[str, ...]
    """Names of providers whose plugin would record this run's credentials; nothing else about them differs."""
    violations: tuple[Violation, ...]
    complaints: tuple[str, ...]
    """Errors and warnings in the words of the engine or the program, only for the job's log."""
    failed: bool

    @classmethod
    def parse(cls, text: str, *, status: int) -> Preview:
        """Reads the output, complete or cut off, of a preview that ended with `status`."""
        events = list(_events(text))
        seen = list(_changes(event["resourcePreEvent"]["metadata"] for event in events if "resourcePreEvent" in event))
        changes = [change for change in seen if not _only_credentials(change)]
        complaints = [event["diagnosticEvent"] for event in events if "diagnosticEvent" in event]
        return cls(
            changes=tuple(sorted(changes, key=lambda change: (change.action, change.type, change.name))),
            recorded=tuple(sorted(change.name for change in seen if _only_credentials(change))),
            violations=tuple(_violation(event["policyEvent"]) for event in events if "policyEvent" in event),
            # A plugin repeats its warning each time it is started.
            complaints=tuple(
                dict.fromkeys(
                    f"{one['severity']}: {one['message'].strip()}"
                    for one in complaints
                    if one["severity"] in {"error", "warning"}
                )
            ),
            failed=status != 0
            or not any(event.get("summaryEvent", {}).get("result") == "succeeded" for event in events),
        )

    @property
    def counts(self) -> Counter[Action]:
        """How many resources each action affects."""
        return Counter(change.action for change in self.changes)


def widget(preview: Preview) -> str:
    """The counts in the form of `artifacts:reports:terraform` (docs.gitlab.com, "Terraform integration").

    A failed preview has no counts, because they would look like a small change; GitLab shows such a report as failed.
    """
    if preview.failed:
        return "{}"
    counts = preview.counts
    replaced = counts[Action.REPLACE]
    return json.dumps(
        {
            "create": counts[Action.CREATE] + replaced,
            "update": counts[Action.UPDATE],
            "delete": counts[Action.DELETE] + replaced,
        }
    )


def marker(stack: str) -> str:
    """Hidden text in the comment, by which the next pipeline finds and edits it."""
    return f"<!-- {PROGRAM} preview: {stack} -->"


def comment(
    preview: Preview, *, stack: str, commit: str, job_url: str, rehearsed: bool = False, limit: int = NOTE_LIMIT
) -> str:
    """The comment on the merge request, at most `limit` characters; what is cut off is in the job's log.

    `rehearsed`: the pipeline had no credentials of the stack, so this is the preview of a first `up` in the rehearsal.
    """
    head = [marker(stack), f"### `pulumi preview` of {stack} at {commit}", ""]
    if rehearsed:
        head += [
            "This pipeline may not read the stack's credentials: this is the **rehearsal's** preview.",
            "It shows every resource as if the stack did not exist yet, not what would change in the live stack.",
            "",
        ]
    head += [_summary(preview), ""]
    tail = ["", f"[The job's log]({job_url}) has everything, including the messages of errors and policies."]
    cut = ["", "_Cut to GitLab's limit._"]
    parts = [*_violations(preview), *_table(preview), *_details(preview)]
    whole = "\n".join([*head, *parts, *tail])
    if len(whole) <= limit:
        return whole
    room = limit - len("\n".join([*head, *cut, *tail]))
    kept: list[str] = []
    for part in parts:
        room -= len(part) + 1
        if room < 0:
            break
        kept.append(part)
    return "\n".join([*head, *kept, *cut, *tail])


def log(preview: Preview) -> str:
    """The whole preview for the job's log: complaints, violations in their own words, and every change."""
    lines = [*preview.complaints]
    lines += [f"policy {one.policy}, {one.resource}: {one.message}" for one in preview.violations]
    lines.append(_summary(preview))
    for change in preview.changes:
        lines.append(f"{change.action.name.lower():<8} {change.type} {change.name}")
        lines += [f"         {path}{_forces(change, path)}" for path in change.paths]
    return "\n".join(lines)


def _events(text: str) -> Iterator[Mapping[str, Any]]:
    """The engine's events; skips other output, such as that of a `pulumi` that could not even start."""
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(event, dict):
            yield event


def _changes(steps: Iterable[Mapping[str, Any]]) -> Iterable[Change]:
    """One change for each resource: the steps of a replacement have the same URN."""
    changes: dict[str, Change] = {}
    for step in steps:
        action = _ACTIONS.get(step["op"])
        if action is None:
            continue
        urn = step["urn"]
        type_, name = urn.split("::", 3)[2:]
        known = changes[urn].paths if urn in changes else {}
        changes[urn] = Change(
            action=action, type=type_.rsplit("$", 1)[-1], name=name, paths={**known, **dict(sorted(_paths(step)))}
        )
    return changes.values()


def _only_credentials(change: Change) -> bool:
    names = _CREDENTIALS.get(change.type)
    return names is not None and change.action is Action.UPDATE and names.issuperset(change.paths)


def _paths(step: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """The differing properties of an update or replacement; a provider that knows no paths names whole properties."""
    detailed = step.get("detailedDiff") or {}
    for path, difference in detailed.items():
        yield path, difference["diffKind"].endswith("-replace")
    if not detailed:
        forcing = step.get("keys") or ()
        for name in step.get("diffs") or ():
            yield name, name in forcing


def _violation(event: Mapping[str, Any]) -> Violation:
    urn = event.get("resourceUrn", "")
    return Violation(
        policy=event["policyName"], resource=urn.rpartition("::")[2] or "the stack", message=event["message"].strip()
    )


def _summary(preview: Preview) -> str:
    counts = ", ".join(f"{number} to {action.name.lower()}" for action, number in sorted(preview.counts.items()))
    if not preview.failed:
        return f"{counts or 'No changes.'}{_recorded(preview)}"
    return f"**The preview failed.** Until then it had seen: {counts or 'nothing'}."


def _recorded(preview: Preview) -> str:
    """The providers' own records, which change nothing, for the end of the summary."""
    if not preview.recorded:
        return ""
    names = ", ".join(map(_code, preview.recorded))
    return f" ({names}: the plugin would record the credentials of this run in place of the last one's; not counted)"


def _violations(preview: Preview) -> list[str]:
    return [f"- policy {_code(one.policy)} is violated by {_code(one.resource)}" for one in preview.violations]


def _table(preview: Preview) -> list[str]:
    if not preview.changes:
        return []
    rows = [f"| {_word(change.action)} | {_code(change.type)} | {_code(change.name)} |" for change in preview.changes]
    return ["", "| | type | name |", "| --- | --- | --- |", *rows]


def _word(action: Action) -> str:
    word = action.name.lower()
    return f"**{word}**" if action in {Action.DELETE, Action.REPLACE} else word


def _details(preview: Preview) -> list[str]:
    """A folded list for each resource. Each is one part: half a list would swallow what comes after it."""
    return [
        f"\n<details><summary><code>{html.escape(change.name)}</code></summary>\n\n"
        + "\n".join(f"- {_code(path)}{_forces(change, path)}" for path in change.paths)
        + "\n\n</details>"
        for change in preview.changes
        if change.paths
    ]


def _forces(change: Change, path: str) -> str:
    return " (forces the replacement)" if change.paths[path] else ""


def _code(text: str) -> str:
    """The text as code: names and paths come from the reviewed branch, and could end the table or mention people."""
    return "`" + text.replace("`", "'").replace("|", "\\|").replace("\n", " ") + "`"
