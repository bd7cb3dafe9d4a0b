"""The configuration document of a shared Cloudflare Tunnel: one rule of it is ours, all else is other people's.

Pure functions on the raw document, as the API gives it: keys this program has never heard of pass through unchanged,
and so does the order, which decides: cloudflared takes the first rule that matches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Document: TypeAlias = dict[str, Any]
Rule: TypeAlias = dict[str, Any]


class TunnelDocumentError(Exception):
    """The document is not one to add a rule to; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class AccessDemand:
    """What cloudflared demands of each request: a token of Access, issued by this team for one of these applications.

    A rule's `originRequest.access` (cloudflared, `config.AccessConfig`); without a right token it answers 403.
    """

    team: str
    """Name of the Zero Trust team."""
    audiences: tuple[str, ...]
    """Audience tags of the applications."""

    @property
    def document(self) -> Document:
        """As the rule has it."""
        return {"required": True, "teamName": self.team, "audTag": list(self.audiences)}


def demand_of(rule: Rule) -> AccessDemand | None:
    """What cloudflared demands of requests for the rule; None where that is nothing, or not all of it is said."""
    access = _mapping(_mapping(rule.get("originRequest")).get("access"))
    team, audiences = access.get("teamName"), access.get("audTag") or ()
    if access.get("required") is not True or not team or not audiences:
        return None
    return AccessDemand(team=team, audiences=tuple(audiences))


def find(document: Document, hostname: str) -> Rule | None:
    """The rule for all of `hostname`, or None."""
    return next((rule for rule in _rules(document) if _is_for(rule, hostname)), None)


def first_taker(document: Document, hostname: str) -> Rule | None:
    """The first rule that takes requests for `hostname`: its own, where no other comes before that."""
    return next((rule for rule in _rules(document) if _takes(rule, hostname)), None)


def paths_of(document: Document, hostname: str) -> list[Rule]:
    """Rules for paths of `hostname` alone, which cloudflared takes before the one for all of it."""
    rules = _rules(document)
    before = rules[: next((index for index, rule in enumerate(rules) if _is_for(rule, hostname)), 0)]
    return [rule for rule in before if rule.get("hostname") == hostname and rule.get("path")]


def with_rule(document: Document, hostname: str, service: str, demand: AccessDemand | None = None) -> Document:
    """The document with a rule that sends `hostname` to `service`; itself where it has that rule already.

    The rule makes this `demand` and no other; None leaves the demand that is there.

    A rule that is there keeps its other keys, and its place unless an earlier wildcard swallows it. Otherwise the rule
    is placed before the catch-all, and before the first wildcard that would swallow it. Raises `TunnelDocumentError`.
    """
    rules = _checked(document)
    # What the API itself adds to a rule without it is written at once, so that nothing differs afterwards.
    own = {**(find(document, hostname) or {"hostname": hostname, "service": service, "originRequest": {}})}
    own["service"] = service
    if demand is not None:
        own["originRequest"] = {**_mapping(own.get("originRequest")), "access": demand.document}
    place = next(index for index, rule in enumerate(rules) if _takes(rule, hostname))
    others = [*rules[:place], own, *(rule for rule in rules[place:] if not _is_for(rule, hostname))]
    return document if others == rules else {**document, "ingress": others}


def without_rule(document: Document, hostname: str) -> Document:
    """The document without the rule for `hostname`; itself where there is none."""
    rules = _rules(document)
    left = [rule for rule in rules if not _is_for(rule, hostname)]
    return document if left == rules else {**document, "ingress": left}


def _rules(document: Document) -> list[Rule]:
    rules: list[Rule] = document.get("ingress") or []
    return rules


def _checked(document: Document) -> list[Rule]:
    rules = _rules(document)
    if not rules:
        raise TunnelDocumentError(
            "the tunnel's configuration is empty, so this is not the tunnel that others use: correct the tunnel in the "
            "stack file, or give the tunnel its first hostname and catch-all rule in the dashboard"
        )
    last = rules[-1]
    if last.get("hostname") or last.get("path"):
        raise TunnelDocumentError(
            "the tunnel's last rule is no catch-all, which cloudflared demands: add one (http_status:404) to it"
        )
    return rules


def _mapping(value: Any) -> Document:
    return value if isinstance(value, dict) else {}


def _is_for(rule: Rule, hostname: str) -> bool:
    return rule.get("hostname") == hostname and not rule.get("path")


def _takes(rule: Rule, hostname: str) -> bool:
    """Whether a rule takes requests for `hostname`: its own, one without a hostname, or a wildcard that covers it.

    These may be for a path: of all hostnames, and so not meant for this one. A path of the hostname's own is.
    """
    pattern = rule.get("hostname")
    if not pattern or pattern == "*":
        return True
    return _is_for(rule, hostname) or bool(pattern.startswith("*.") and hostname.endswith(pattern[1:]))
