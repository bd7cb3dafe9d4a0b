"""Looks up what public access refers to, and refuses a policy that lets everybody in, before anything is created."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import pulumi

from components.tunnel import TARGET, TEAM_DOMAIN
from lookups.access_application import adoption_problem
from lookups.access_policy import Policy, openings
from lookups.cloudflare_api import CloudflareApi, CloudflareError
from lookups.cloudflare_recorded import APPLICATION, RECORD, Recorded, wrong_id
from lookups.tunnel_document import Document
from settings.access import PublicAccessSettings
from settings.names import Names
from settings.ownership import DNS_COMMENT, Owner

IN_THE_WAY: Final = frozenset({"A", "AAAA", "CNAME", "NS"})
"""Types of records beside which Cloudflare accepts no CNAME of the same name (errors 81053 and 81056). All others may
exist: Cloudflare serves a TXT or CAA record beside the proxied record's addresses.
https://developers.cloudflare.com/dns/manage-dns-records/troubleshooting/records-with-same-name/"""

_TUNNEL_EDIT: Final = "Account > Cloudflare Tunnel: Edit"
_ACCESS_EDIT: Final = "Account > Access: Apps and Policies: Edit"
_TOKENS_EDIT: Final = "Account > Access: Service Tokens: Edit"
_DNS_EDIT: Final = "Zone > DNS: Edit"
_ZONE_READ: Final = "Zone > Zone: Read"
_ORGANIZATION_READ: Final = "Account > Access: Organizations, Identity Providers, and Groups: Read"
_T = TypeVar("_T")


class PublicAccessError(pulumi.RunError):
    """Cloudflare does not have what the stack file names; the message lists every problem."""


class UnusableError(Exception):
    """What the stack file names does not exist, or cannot serve the app; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class CloudflareIds:
    """Ids of the account, zone, tunnel and policy that a stack file names, and the name of the account's team."""

    account_id: str
    zone_id: str
    tunnel_id: str
    policy_id: str
    team_name: str
    identity_provider_ids: tuple[str, ...]
    """Empty for every identity provider of the account."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The account and the zone that a stack file names."""

    account_id: str
    zone_id: str


def look_up(public: PublicAccessSettings, names: Names, *, port: int) -> CloudflareIds:
    """Plain, blocking look-ups; raises `PublicAccessError` with everything that is wrong.

    It reads from each product that the stack writes to, so that the message names every permission that the token
    lacks. A token that may read but not edit passes here, and Cloudflare refuses it at the first write: the API does
    not show a token its own permissions.
    """
    problems: list[str] = []
    found = _LookUp(public, CloudflareApi(), Recorded(names, port), problems)
    ids = found.run()
    if problems or ids is None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise PublicAccessError(f"Public access cannot be set up. Nothing was created or changed.\n{listed}")
    return ids


class _LookUp:
    """One look-up, which adds what is wrong to `problems`."""

    def __init__(
        self, public: PublicAccessSettings, api: CloudflareApi, recorded: Recorded, problems: list[str]
    ) -> None:
        self._public, self._api, self._recorded, self._problems = public, api, recorded, problems

    def run(self) -> CloudflareIds | None:
        public, api = self._public, self._api
        place = self._attempt(f"zone {public.zone!r}", _ZONE_READ, lambda: find_place(public, api))
        if place is None:
            return None
        account = f"/accounts/{place.account_id}"
        if foreign := self._foreign(place.account_id):
            self._problems.append(foreign)
            return None
        tunnel = f"tunnel {public.tunnel!r}"
        checked = self._attempt(tunnel, _TUNNEL_EDIT, lambda: _check_tunnel(public, place.account_id, api))
        tunnel_id, document = checked or (None, {})
        policy = f"Access policy {public.policy_name!r}"
        policy_id = self._attempt(policy, _ACCESS_EDIT, lambda: _policy_id(public, account, api))
        team = self._attempt("the account's team", _ORGANIZATION_READ, lambda: find_team(public, place.account_id, api))
        if public.service_token is not None:
            self._attempt("service tokens", _TOKENS_EDIT, lambda: api.list_all(f"{account}/access/service_tokens"))
        providers: tuple[str, ...] | None = ()
        if public.one_time_pin:
            providers = self._attempt("one-time PIN", _ORGANIZATION_READ, lambda: _one_time_pin(account, api))
        for hostname in public.hostnames:
            if checked and (problem := self._recorded.rule_problem(public, hostname, document)):
                self._problems.append(f"tunnel rule of {hostname!r}: {problem}")
            check_application = partial(_check_application, public, hostname, account, api, self._recorded)
            self._attempt(f"Access application of {hostname!r}", _ACCESS_EDIT, check_application)
            check_records = partial(
                _check_records, public, hostname, place.zone_id, tunnel_id, api=api, recorded=self._recorded
            )
            self._attempt(f"DNS record {hostname!r}", _DNS_EDIT, check_records)
        if tunnel_id is None or policy_id is None or team is None or providers is None:
            return None
        return CloudflareIds(
            account_id=place.account_id,
            zone_id=place.zone_id,
            tunnel_id=tunnel_id,
            policy_id=policy_id,
            team_name=team,
            identity_provider_ids=providers,
        )

    def _attempt(self, what: str, permission: str, run: Callable[[], _T]) -> _T | None:
        try:
            return run()
        except CloudflareError as error:
            self._problems.append(f"{what}: {error.with_permission(permission)}")
        except UnusableError as error:
            self._problems.append(f"{what}: {error}")
        return None

    def _foreign(self, account_id: str) -> str | None:
        """The problem if the token belongs to another account: Cloudflare then refuses every call as if a permission
        were missing."""
        try:
            seen = self._api.list_all("/accounts")
        except CloudflareError:
            return None
        # Empty if the token has no permission at account level.
        if not seen or account_id in {one["id"] for one in seen}:
            return None
        return (
            f"account {account_id}: CLOUDFLARE_API_TOKEN belongs to another account, {_accounts(seen)}. Export one of "
            f"the account that has the zone {self._public.zone!r}, or correct access.public"
        )


def find_place(public: PublicAccessSettings, api: CloudflareApi) -> Place:
    """The zone's id and account. Raises `UnusableError` for a zone that serves nothing, or `CloudflareError`."""
    if public.zone_id is not None and public.account_id is not None:
        place = Place(account_id=public.account_id, zone_id=public.zone_id)
        try:
            zone = api.get(f"/zones/{place.zone_id}")
        except CloudflareError as error:
            if error.forbidden:  # with both ids in the stack file, the token need not see the zone
                return place
            raise
    else:
        zone = _zone_named(public, api)
        place = Place(
            account_id=public.account_id or str(zone["account"]["id"]), zone_id=public.zone_id or str(zone["id"])
        )
    if zone["account"]["id"] != place.account_id or zone["id"] != place.zone_id:
        raise UnusableError(
            f"its id is {zone['id']}, in account {zone['account']['id']}; the stack file says {place.zone_id}, in "
            f"{place.account_id}: correct access.public.zoneId and accountId, or remove both"
        )
    if zone["name"] != public.zone:
        raise UnusableError(f"access.public.zoneId is that of {zone['name']}: correct it, or remove it")
    if zone["status"] != "active":
        raise UnusableError(
            f"its status is {zone['status']!r}, not 'active': Cloudflare does not serve it. Set its name servers at "
            f"the registrar to {' and '.join(zone.get('name_servers') or ['those that the dashboard names'])}"
        )
    if zone.get("paused"):
        raise UnusableError(
            "it is paused, so Cloudflare neither proxies it nor asks for a login: resume it in the "
            "dashboard (Overview > Enable Cloudflare on Site)"
        )
    return place


def _zone_named(public: PublicAccessSettings, api: CloudflareApi) -> dict[str, Any]:
    remedy = f"The token needs {_ZONE_READ} for it; or give zoneId and accountId"
    try:
        found = api.list_all("/zones", name=public.zone)
    except CloudflareError as error:
        if not error.forbidden:
            raise
        raise UnusableError(f"{error}. {remedy}") from None
    if len(found) > 1:
        owners = _accounts([one["account"] for one in found])
        raise UnusableError(f"{len(found)} zones have that name, of {owners}: give zoneId and accountId")
    if not found:
        if seen := sorted(str(one["name"]) for one in api.list_all("/zones")):
            remedy = f"It sees {', '.join(seen)}: correct access.public.zone. If the name is right: {remedy}"
        raise UnusableError(f"this token sees no zone of that name{_elsewhere(api)}. {remedy}")
    return found[0]


def _elsewhere(api: CloudflareApi) -> str:
    try:
        seen = api.list_all("/accounts")
    except CloudflareError:
        return ""
    return f"; it belongs to account {_accounts(seen)}" if seen else ""


def _accounts(seen: Sequence[dict[str, Any]]) -> str:
    return " and ".join(f"{one['name']!r} ({one['id']})" for one in seen)


def find_tunnel(public: PublicAccessSettings, account_id: str, api: CloudflareApi) -> str:
    """The tunnel's id. Raises `UnusableError` for none, several and a deleted one."""
    path = f"/accounts/{account_id}/cfd_tunnel"
    if public.tunnel_id is not None:
        tunnel = api.get(f"{path}/{public.tunnel_id}")
        if tunnel.get("deleted_at"):
            raise UnusableError(
                f"access.public.tunnelId is {public.tunnel_id}, which was deleted at {tunnel['deleted_at']}: give "
                "another one, or remove it"
            )
        if tunnel["name"] != public.tunnel:
            raise UnusableError(
                f"access.public.tunnelId is {public.tunnel_id}, whose name is {tunnel['name']!r}: correct either"
            )
    else:
        # Without `is_deleted`, deleted tunnels match, too.
        listed = api.list_all(path, name=public.tunnel, is_deleted="false")
        alive = [one for one in listed if one["name"] == public.tunnel and not one.get("deleted_at")]
        if len(alive) > 1:
            ids = " or ".join(str(one["id"]) for one in alive)
            raise UnusableError(f"{len(alive)} tunnels have that name: give access.public.tunnelId, {ids}")
        if not alive:
            raise UnusableError("the account has no tunnel of that name: correct access.public.tunnel")
        (tunnel,) = alive
    return str(tunnel["id"])


def _check_tunnel(public: PublicAccessSettings, account_id: str, api: CloudflareApi) -> tuple[str, Document]:
    """The tunnel's id and document."""
    tunnel_id = find_tunnel(public, account_id, api)
    configuration = api.get(f"/accounts/{account_id}/cfd_tunnel/{tunnel_id}/configurations")
    if configuration.get("source") == "local":
        raise UnusableError(
            "cloudflared reads its configuration from a local file (source: local), so changes through the API have "
            "no effect. Migrate it to remote management in the dashboard, or name another tunnel"
        )
    return tunnel_id, configuration.get("config") or {}


def find_team(public: PublicAccessSettings, account_id: str, api: CloudflareApi) -> str:
    """Name of the account's Zero Trust team, which issues the tokens that cloudflared requires.

    A wrong name would lock everybody out, so a configured name is compared with the account's if the token may read it.
    """
    try:
        domain = str(api.get(f"/accounts/{account_id}/access/organizations").get("auth_domain") or "")
    except CloudflareError as error:
        if not error.forbidden:
            raise
        if public.team_name is not None:
            return public.team_name
        raise UnusableError(f"{error}. The token needs {_ORGANIZATION_READ}; or give access.public.teamName") from None
    team = domain.partition(".")[0]
    if not team or domain != TEAM_DOMAIN.format(team):
        raise UnusableError("the account has no Zero Trust team: set one up in the dashboard (Zero Trust > Settings)")
    if public.team_name not in {None, team}:
        raise UnusableError(f"access.public.teamName is {public.team_name}, and the account's is {team}: remove it")
    return team


def _check_records(
    public: PublicAccessSettings,
    hostname: str,
    zone_id: str,
    tunnel_id: str | None,
    *,
    api: CloudflareApi,
    recorded: Recorded,
) -> None:
    """Refuses a record that keeps the stack from creating its own, and a record to adopt of another hostname."""
    listed = api.list_all(f"/zones/{zone_id}/dns_records", **{"name.exact": hostname})
    records = [one for one in listed if one["type"] in IN_THE_WAY]
    adoptable = [str(one["id"]) for one in records if one["type"] == "CNAME"]
    adopted, setting = public.adopted(hostname).dns_record, f"{public.adopt_key(hostname)}.dnsRecord"
    if wrong := wrong_id(setting, adopted, adoptable):
        raise UnusableError(wrong)
    foreign = [
        f"{above} is delegated to {one['content']} (NS record {one['id']}), so names below it are never resolved by "
        "Cloudflare: remove that record, or name another hostname"
        for above in _between(hostname, public.zone)
        for one in api.list_all(f"/zones/{zone_id}/dns_records", **{"name.exact": above, "type": "NS"})
    ]
    for record in records:
        if record["type"] != "CNAME":
            foreign.append(
                f"a record of type {record['type']} leads to {record['content']}, and Cloudflare allows no CNAME "
                f"beside it: remove it (id {record['id']})"
            )
            continue
        if record["id"] == adopted or tunnel_id is None:
            continue
        comment = record.get("comment")
        marked = comment == DNS_COMMENT or Owner.marked(comment) is not None
        if not marked and record["content"] != TARGET.format(tunnel_id):
            foreign.append(
                f"it exists and leads to {record['content']}: set {setting} to {record['id']} to take it over, or "
                "remove it"
            )
        elif problem := recorded.problem(RECORD, hostname, record, setting):
            foreign.append(problem)
    if foreign:
        raise UnusableError("; ".join(foreign))


def _between(hostname: str, zone: str) -> Iterator[str]:
    """The names above a hostname that are still below its zone."""
    above = hostname.partition(".")[2]
    while above.endswith(f".{zone}"):
        yield above
        above = above.partition(".")[2]


def _check_application(
    public: PublicAccessSettings, hostname: str, account: str, api: CloudflareApi, recorded: Recorded
) -> None:
    listed = api.list_all(f"{account}/access/apps", domain=hostname, exact="true")
    # A bookmark is only a link in the App Launcher.
    found = [one for one in listed if one.get("domain") == hostname and one.get("type") != "bookmark"]
    adopted, setting = public.adopted(hostname).application, f"{public.adopt_key(hostname)}.application"
    if wrong := adoption_problem(hostname, setting, adopted, found):
        raise UnusableError(wrong)
    for application in found if adopted is None else ():
        if problem := recorded.problem(APPLICATION, hostname, application, setting):
            raise UnusableError(problem)


def _policy_id(public: PublicAccessSettings, account: str, api: CloudflareApi) -> str:
    """The id of the policy, after checking that it is the right one, is reusable, and lets in only known people.

    A wrong id could be that of a policy that lets everybody in, and the invoices would be public.
    """
    policy_id = public.policy_id or _policy_named(public.policy_name, account, api)
    policy = api.get(f"{account}/access/policies/{policy_id}")
    wrong = [
        f"{what} is {given!r}, not {wanted!r}"
        for what, given, wanted in (
            ("its name", policy.get("name"), public.policy_name),
            ("its decision", policy.get("decision"), "allow"),
            ("reusable", policy.get("reusable"), True),
        )
        if given != wanted
    ]
    if wrong:
        raise UnusableError(f"{'; '.join(wrong)}. Correct policyId or policyName, or the policy in Zero Trust > Access")
    if opened := openings(policy, lambda id_: _group(id_, account, api), public.allow_selectors):
        raise UnusableError(
            f"it lets in more than known people, by {'; '.join(opened)}. Name people in the policy (e-mail addresses, "
            "an e-mail list, a group of an identity provider) or, if that is meant, the selector in "
            "access.public.allowSelectors"
        )
    return policy_id


def _group(id_: str, account: str, api: CloudflareApi) -> Policy:
    try:
        return api.get(f"{account}/access/groups/{id_}")
    except CloudflareError as error:
        raise UnusableError(f"its group {id_} cannot be read: {error.with_permission(_ORGANIZATION_READ)}") from None


def _policy_named(name: str, account: str, api: CloudflareApi) -> str:
    listed = api.list_all(f"{account}/access/policies")
    found = [str(policy["id"]) for policy in listed if policy.get("name") == name]
    if len(found) != 1:
        raise UnusableError(f"{len(found)} policies have that name, not one: give policyId{_of(found)}")
    return found[0]


def _of(ids: Sequence[str]) -> str:
    return f", {' or '.join(ids)}" if ids else ""


def _one_time_pin(account: str, api: CloudflareApi) -> tuple[str, ...]:
    listed = api.list_all(f"{account}/access/identity_providers")
    found = tuple(str(one["id"]) for one in listed if one["type"] == "onetimepin")
    if not found:
        raise UnusableError(
            "the account has no such identity provider: add it in Zero Trust > Settings > Authentication"
        )
    return found
