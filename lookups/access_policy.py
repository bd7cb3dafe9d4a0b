"""Whom an Access policy lets in, according to its rules: only known people, or others as well.

Cloudflare ORs the entries of `include`, ANDs those of `require`, and subtracts those of `exclude`
(developers.cloudflare.com/cloudflare-one/policies/access, "Rule types"). So a policy lets in only known people if each
of its includes names known people, or one of its requires does. An exclude does not help: it leaves everybody else.
There is an allowlist of selectors: one that Cloudflare adds later counts as open until it is reviewed and added here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final

Rule = Mapping[str, Any]
"""An entry of `include`, `exclude` or `require`: one selector and what it matches."""
Policy = Mapping[str, Any]
"""A policy or a group: its `include`, `exclude` and `require`."""
ReadGroup = Callable[[str], Policy]
"""Returns the Access group with an id. Its exceptions propagate."""

GROUP: Final = "group"
NAMES_PEOPLE: Final[Mapping[str, str]] = {
    "email": "e-mail address",
    "email_list": "e-mail list",
    "azureAD": "group of an identity provider",
    "okta": "group of an identity provider",
    "gsuite": "group of an identity provider",
    "saml": "group of an identity provider",
    "github-organization": "group of an identity provider",
    "service_token": "service token",
}
"""Selectors that name known people, or one known token, and what one entry of each names. Groups are resolved."""


def openings(policy: Policy, read_group: ReadGroup, allowed: Collection[str] = ()) -> list[str]:
    """The entries by which a policy lets in more than known people, each in words; empty if there are none.

    `allowed` are additional selectors, which somebody has decided to trust (`access.public.allowSelectors`).
    """
    return list(_openings(policy, read_group, frozenset(allowed), ()))


def admitted(policy: Policy, read_group: ReadGroup) -> str:
    """What a policy names, in numbers: `2 e-mail addresses, 1 e-mail list; less 1 e-mail address`.

    Members of groups count, too, and duplicates count once.
    """
    words = [_counted(policy, "include", read_group) or "nobody"]
    words += [f"who match each of {needed}" for needed in [_counted(policy, "require", read_group)] if needed]
    words += [f"less {excluded}" for excluded in [_counted(policy, "exclude", read_group)] if excluded]
    return "; ".join(words)


def _counted(policy: Policy, part: str, read_group: ReadGroup) -> str:
    named = {repr(rule): rule[0] for rule in _selectors(policy, part, read_group, ())}
    counted = Counter(NAMES_PEOPLE.get(selector, f"rule by {selector}") for selector in named.values())
    return ", ".join(f"{count} {_plural(what, count)}" for what, count in counted.items())


def _openings(
    policy: Policy, read_group: ReadGroup, allowed: frozenset[str], above: tuple[str, ...], *, required: bool = False
) -> Iterator[str]:
    includes, requires = policy.get("include") or [], policy.get("require") or []
    opened = [] if includes else ["its include is empty"]
    opened += [found for rule in includes for found in _opened(rule, read_group, allowed, above, required=required)]
    if any(not list(_opened(rule, read_group, allowed, above, required=True)) for rule in requires):
        return
    # Entries found in a nested group already name that group.
    place = f"group {policy.get('name') or above[-1]}: " if above else ""
    yield from (found if found.startswith("group ") else f"{place}{found}" for found in opened)


def _opened(
    rule: Rule, read_group: ReadGroup, allowed: frozenset[str], above: tuple[str, ...], *, required: bool
) -> Iterator[str]:
    if not rule:
        yield "an entry without a selector"
    for selector, matched in rule.items():
        if selector == GROUP:
            id_ = str((matched or {}).get("id"))
            if id_ not in above:
                yield from _openings(read_group(id_), read_group, allowed, (*above, id_), required=required)
            elif required:  # to require itself restricts nothing
                yield "itself"
            # A group that includes itself lets in nobody else.
        elif selector not in NAMES_PEOPLE and selector not in allowed:
            yield f"{selector}{_shown(matched)}"


def _selectors(policy: Policy, part: str, read_group: ReadGroup, above: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for rule in policy.get(part) or []:
        for selector, matched in rule.items():
            if selector != GROUP:
                yield selector, matched
            elif (id_ := str((matched or {}).get("id"))) not in above:
                # A group names what its own include names, in whichever part of the policy the group is.
                yield from _selectors(read_group(id_), "include", read_group, (*above, id_))


def _shown(matched: Any) -> str:
    """What a selector matches: `email_domain (example.com)`."""
    values = [str(value) for value in matched.values()] if isinstance(matched, Mapping) else []
    return f" ({', '.join(values)})" if values else ""


def _plural(what: str, count: int) -> str:
    if count == 1:
        return what
    head, of, tail = what.partition(" of ")
    return f"{head}{'es' if head.endswith('s') else 's'}{of}{tail}"
