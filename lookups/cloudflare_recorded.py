"""Finds what exists at Cloudflare for a public hostname, but not in the stack's state, where `up` would create its own.

Cloudflare refuses a second application or record half-way through an `up`: a record with 81053, and an application with
status 409, after which the plugin tries again for minutes. The tunnel's rule refuses one that was made by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

import pulumi

from components.tunnel import ORIGIN
from lookups.own_outputs import full_name, read_own_state
from lookups.tunnel_document import Document, Rule, TunnelDocumentError, find, with_rule
from settings.access import PublicAccessSettings
from settings.commands import ops_command
from settings.names import Names
from settings.ownership import DNS_COMMENT, Owner

APPLICATION: Final = "AccessApplication"
RECORD: Final = "Record"
RULE: Final = "TunnelHostname"
"""Ends of the type tokens, in every release of the plugin and of this program."""
_HOSTNAME: Final = {APPLICATION: "domain", RECORD: "name", RULE: "hostname"}
"""Output with the hostname."""
_WORDS: Final = {APPLICATION: "Access application", RECORD: "DNS record", RULE: "tunnel rule"}
_ORIGIN: Final = re.compile(
    re.escape(ORIGIN).replace(r"\{1\}", "([^.]+)").replace(r"\{0\}", "[^.]+").replace(r"\{2\}", r"\d+")
)


class Recorded:
    """What the state has. It is read once, and only if Cloudflare has something.

    Each method returns the problem in words, with its fix, or None. In a preview it only warns: `ops import-existing`
    needs one.
    """

    def __init__(self, names: Names, port: int) -> None:
        self._names = names
        self._service = ORIGIN.format(names.app, names.namespace, port)

    def problem(self, kind: str, hostname: str, found: Mapping[str, Any], setting: str) -> str | None:
        """The problem with an application or a record of the hostname that `setting` would adopt."""
        owner = Owner.titled(found.get("name")) if kind == APPLICATION else Owner.marked(found.get("comment"))
        if owner not in {None, self._names.owner}:
            return None  # `check_ownership` refuses another stack's
        if owner is not None or found.get("comment") == DNS_COMMENT:
            stack = self._names.stack
            problem = (
                "this stack created it, but its state does not contain it: after an `up` that was killed or got no "
                f"answer, record it with {ops_command('recover', stack)}; if the state was lost, adopt everything with "
                f"{ops_command('import-existing', stack)}; or set {setting} to {found['id']}"
            )
        else:
            problem = (
                f"it exists, made by hand, and Cloudflare allows no second one: set {setting} to {found['id']} to take "
                "it over, or remove it"
            )
        return self._unless_recorded(kind, hostname, problem)

    def rule_problem(self, public: PublicAccessSettings, hostname: str, document: Document) -> str | None:
        """The problem with adding the hostname's rule to the tunnel's document."""
        there = find(document, hostname)
        if there is not None and namespace_of(there) not in {None, self._names.namespace}:
            return None  # another stack's, which `check_ownership` refuses
        if there is not None and there.get("service") != self._service and not public.adopted(hostname).tunnel_rule:
            problem = (
                f"it exists, made by hand, and leads to {there.get('service')}: set {public.adopt_key(hostname)}"
                ".tunnelRule to true to take it over, or remove it in the dashboard"
            )
            return self._unless_recorded(RULE, hostname, problem)
        try:
            with_rule(document, hostname, self._service)
        except TunnelDocumentError as error:
            return self._unless_recorded(RULE, hostname, str(error))
        return None

    def _unless_recorded(self, kind: str, hostname: str, problem: str) -> str | None:
        if (kind, hostname) in self._known:
            return None
        if not pulumi.runtime.is_dry_run():
            return problem
        pulumi.log.warn(f"{_WORDS[kind]} of {hostname}: {problem}. `up` will refuse.")
        return None

    @cached_property
    def _known(self) -> set[tuple[str, str]]:
        """Kind and hostname of what the state has, as of the start of this run."""
        return {
            (kind, str((one.get("outputs") or {}).get(output)))
            for one in read_own_state("readStackResourceOutputs", stackName=full_name()).values()
            for kind, output in _HOSTNAME.items()
            if str(one["type"]).endswith(kind)
        }


def namespace_of(rule: Rule) -> str | None:
    """The namespace to which a rule sends requests as a stack's rule does; None for any other rule."""
    leads_to = _ORIGIN.fullmatch(str(rule.get("service")))
    return leads_to[1] if leads_to else None


def wrong_id(setting: str, adopted: str | None, found: list[str]) -> str | None:
    """The problem if `setting` is the id of another hostname's resource, which an import would take away from it."""
    if adopted is None or adopted in found:
        return None
    right = f", or give {' or '.join(found)}" if found else ""
    return (
        f"{setting} is {adopted}, which does not belong to this hostname: remove the setting, as you do after the `up` "
        f"that adopts{right}"
    )
