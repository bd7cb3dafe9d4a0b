"""The configuration document of a shared Cloudflare Tunnel: one rule is ours, everything else belongs to others.

Pure functions on the raw document from the API: unknown keys pass through unchanged, and so does the order, which
matters: cloudflared takes the first rule that matches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Document: TypeAlias = dict[str, Any]
Rule: TypeAlias = dict[str, Any]


class TunnelDocumentError(Exception):
    """No rule can be added to the document; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class AccessDemand:
    """What cloudflared requires of each request: an Access token, issued by this team for one of these applications.

    A rule's `originRequest.access` (cloudflared, `config.AccessConfig`); without a valid token, the answer is 403.
    """

    team: str
    """Name of the Zero Trust team."""
    audiences: tuple[str, ...]
    """Audience tags of the applications."""

    @property
    def document(self) -> Document:
        """The value in the rule."""
        return {"required": True, "teamName": self.team, "audTag": list(self.audiences)}


def demand_of(rule: Rule) -> AccessDemand | None:
    """What cloudflared requires of requests for the rule; None if it requires nothing, or the rule is incomplete."""
    access = _mapping(_mapping(rule.get("originRequest")).get("access"))
    team, audiences = access.get("teamName"), access.get("audTag") or ()
    if access.get("required") is not True or not team or not audiences:
        return None
    return AccessDemand(team=team, audiences=tuple(audiences))


def find(document: Document, hostname: str) -> Rule | None:
    """The rule for all of `hostname`, or None."""
    return next((rule for rule in _rules(document) if _is_for(rule, hostname)), None)


def first_taker(document: Document, hostname: str) -> Rule | None:
    """The first rule that takes requests for `hostname`: its own, unless another comes before it."""
    return next((rule for rule in _rules(document) if _takes(rule, hostname)), None)


def paths_of(document: Document, hostname: str) -> list[Rule]:
    """Rules for single paths of `hostname`, which cloudflared takes before the rule for the whole hostname."""
    rules = _rules(document)
    before = rules[: next((index for index, rule in enumerate(rules) if _is_for(rule, hostname)), 0)]
    return [rule for rule in before if rule.get("hostname") == hostname and rule.get("path")]


def with_rule(document: Document, hostname: str, service: str, demand: AccessDemand | None = None) -> Document:
    """The document with a rule that sends `hostname` to `service`; the same object if it already has that rule.

    The rule gets exactly this `demand`; None leaves an existing one unchanged.

    An existing rule keeps its other keys, and its place unless an earlier wildcard hides it. A new rule goes before the
    catch-all, and before the first wildcard that would hide it. Raises `TunnelDocumentError`.
    """
    rules = _checked(document)
    # Includes the key that the API would add itself, so that the document does not differ afterwards.
    own = {**(find(document, hostname) or {"hostname": hostname, "service": service, "originRequest": {}})}
    own["service"] = service
    if demand is not None:
        own["originRequest"] = {**_mapping(own.get("originRequest")), "access": demand.document}
    place = next(index for index, rule in enumerate(rules) if _takes(rule, hostname))
    others = [*rules[:place], own, *(rule for rule in rules[place:] if not _is_for(rule, hostname))]
    return document if others == rules else {**document, "ingress": others}


def without_rule(document: Document, hostname: str) -> Document:
    """The document without the rule for `hostname`; the same object if it has none."""
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
    if last.get("hostname") not in (None, "", "*") or last.get("path"):
        raise TunnelDocumentError(
            "the tunnel's last rule is not a catch-all, which cloudflared requires: add one (http_status:404) to it"
        )
    return rules


def _mapping(value: Any) -> Document:
    return value if isinstance(value, dict) else {}


def _is_for(rule: Rule, hostname: str) -> bool:
    return rule.get("hostname") == hostname and not rule.get("path")


def _takes(rule: Rule, hostname: str) -> bool:
    """Whether a rule takes requests for `hostname`: its own, one without a hostname, or a wildcard that covers it.

    The latter two count even if they are for a path, as that is not meant for this hostname. The hostname's own rules
    for paths are meant for it, and do not count.
    """
    pattern = rule.get("hostname")
    if not pattern or pattern == "*":
        return True
    return _is_for(rule, hostname) or bool(pattern.startswith("*.") and hostname.endswith(pattern[1:]))
