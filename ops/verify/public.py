"""How people reach the app from the internet: never without a login."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from components.network import POD_NAMESPACE
from components.public_names import NAME_UNTIL, NON_IDENTITY
from components.tunnel import ORIGIN, TARGET, Tunnel
from lookups.access_policy import admitted, openings
from lookups.cloudflare import IN_THE_WAY, find_team
from lookups.tunnel_document import AccessDemand, demand_of, find, paths_of, with_rule
from ops.verify.check import Check
from ops.verify.systems import Object, Systems
from ops.verify.trouble import CheckError
from settings import Settings
from settings.access import url_of

_LOGIN: Final = ".cloudflareaccess.com"
"""Domain of every Zero Trust team's login pages."""


def application(systems: Systems, hostname: str) -> str:
    """Access guards the hostname with the stack file's policy and no other, which admits known people only."""
    public = systems.public
    guarding = [
        (place, one) for one in _applications(systems) for place in sorted(_places(one)) if _concerns(place, hostname)
    ]
    whole = [policy for place, one in guarding if place == hostname for policy in _policies(one)]
    if not any(place == hostname for place, _ in guarding):
        raise CheckError(f"no Access application is for {hostname}", f"{systems.up}, at once: it may be public")
    tokens = _service_tokens(systems)
    past = [
        f"{policy.name} ({policy.decision}) of {place}"
        for place, one in guarding
        for policy in _policies(one)
        if policy.decision not in {"allow", "deny"} and not (place == hostname and _lets_in(policy, systems, tokens))
    ]
    if past:
        raise CheckError(f"a policy lets people past the login: {', '.join(past)}", "remove it in Zero Trust > Access")
    opened = [
        f"{policy.name} of {place}: {opening}"
        for place, one in guarding
        for policy in _policies(one)
        if place != hostname and policy.decision == "allow"
        for opening in openings(policy.to_dict(mode="json"), systems.access_group, public.allow_selectors)
    ]
    if opened:
        raise CheckError(
            f"an application of a path lets in more than known people: {'; '.join(opened)}",
            "remove it in Zero Trust > Access, or give it the stack's policy",
        )
    if public_paths := sorted({path for _, one in guarding for path in _public_paths(one, hostname)}):
        raise CheckError(
            f"the application requires no login at {', '.join(public_paths)}",
            "remove these paths of it in Zero Trust > Access",
        )
    names = [policy.name for policy in whole]
    wanted = [public.policy_name, *([systems.names.service_token] if public.service_token else [])]
    if names != wanted:
        raise CheckError(f"its policies are {names or 'none'}, not {wanted}", systems.up)
    policy = whole[0]
    rules = policy.to_dict(mode="json")
    if opened := openings(rules, systems.access_group, public.allow_selectors):
        raise CheckError(
            f"{public.policy_name!r} lets in more than known people: {'; '.join(opened)}",
            "name people in the policy, in Zero Trust > Access; or name the selector in access.public.allowSelectors",
        )
    return f"{hostname} is guarded by {public.policy_name!r}, which lets in {admitted(rules, systems.access_group)}"


def _service_tokens(systems: Systems) -> set[str]:
    """Ids of the stack's own service tokens: one, or two while a new one replaces the old one."""
    if systems.public.service_token is None:
        return set()
    listed = systems.cloudflare.zero_trust.access.service_tokens.list(account_id=systems.ids.account)
    beginning = NAME_UNTIL.format(systems.names.service_token, "")
    return {str(one.id) for one in listed if (one.name or "").startswith(beginning)}


def _lets_in(policy: Any, systems: Systems, tokens: set[str]) -> bool:
    """Whether the policy is the one that admits the stack's own service token, and nothing else."""
    rules = policy.to_dict(mode="json")
    included = [(one.get("service_token") or {}).get("token_id") for one in rules.get("include") or []]
    ours = (policy.name, str(policy.decision)) == (systems.names.service_token, NON_IDENTITY)
    return ours and len(included) == 1 and included[0] in tokens


def public_path(systems: Systems, hostname: str) -> str:
    """With the service token, the app answers from outside: DNS, edge, Access, tunnel and app, end to end."""
    token = systems.service_token
    url = f"{url_of(hostname)}{systems.settings.app.health_path}"
    headers = {
        "CF-Access-Client-Id": systems.vaults.read(token.item.field("username")),
        "CF-Access-Client-Secret": systems.vaults.read(token.item.field("password")),
    }
    status = systems.http.get(url, headers=headers).status_code
    if status == 302:
        raise CheckError(f"Access sends the service token of {token.item} to the login: it is not let in", systems.up)
    if status != 200:
        raise CheckError(
            f"{url} answers {status}, not 200, to the service token",
            "403 and 502 are cloudflared's, or Access's: see the checks of the tunnel; 503 is the app's",
        )
    return f"{url} answers 200 to the service token"


def _applications(systems: Systems) -> list[Any]:
    """The account's Access applications, without bookmarks: each is only a link in the App Launcher."""
    listed = systems.cloudflare.zero_trust.access.applications.list(account_id=systems.ids.account)
    return [one for one in listed if getattr(one, "type", None) != "bookmark"]


def _policies(application_: object) -> list[Any]:
    """The policies of an Access application, with their rules."""
    return list(getattr(application_, "policies", None) or [])


def _concerns(place: str, hostname: str) -> bool:
    """Whether an application for this place guards the hostname, or a path of it, where it precedes all others.

    An application for a wildcard without a path guards only what no other one does.
    """
    host, path = place.partition("/")[::2]
    return host == hostname or (bool(path) and fnmatchcase(hostname, host))


def _public_paths(application_: object, hostname: str) -> Iterator[str]:
    """Paths of the hostname at which its application admits everybody without a login."""
    for destination in getattr(application_, "destinations", None) or []:
        uri = str(getattr(destination, "uri", None) or "")
        for one in getattr(destination, "overrides", None) or []:
            if uri.partition("/")[0].lower() == hostname and getattr(one, "behavior", None) == "public":
                yield f"{uri.rstrip('/*')}{one.path_pattern}"


def _places(application_: object) -> set[str]:
    """Hostnames, with or without a path, that an Access application is for; `domain` is only the first of them."""
    destinations = getattr(application_, "destinations", None) or []
    named = [
        getattr(application_, "domain", None),
        *(getattr(application_, "self_hosted_domains", None) or []),
        *(getattr(one, "uri", None) for one in destinations),
    ]
    return {str(place).lower().rstrip("/*") for place in named if place}


def tunnel_rule(systems: Systems, hostname: str) -> str:
    """The tunnel routes the hostname to the app, and no earlier rule matches it."""
    service = ORIGIN.format(systems.names.app, systems.names.namespace, systems.settings.app.port)
    document = Tunnel(systems.ids.account, systems.tunnel_id).read().document
    rule = find(document, hostname)
    if rule is None:
        raise CheckError(f"tunnel {systems.public.tunnel} has no rule for {hostname}", systems.up)
    if rule.get("service") != service:
        raise CheckError(f"{hostname} leads to {rule.get('service')}, not to {service}", systems.up)
    if with_rule(document, hostname, service) != document:
        raise CheckError(f"an earlier rule of tunnel {systems.public.tunnel} takes {hostname}", systems.up)
    paths = [one for one in paths_of(document, hostname) if demand_of(one) != demand_of(rule)]
    if paths:
        leading = ", ".join(f"{one['path']} of {hostname} leads to {one.get('service')}" for one in paths)
        raise CheckError(
            f"{leading}, without the token of Access that the rest demands",
            "remove these rules from the tunnel in the dashboard",
        )
    _check_demand(systems, hostname, demand_of(rule))
    return f"{hostname} leads to {service}, for requests with a token of Access"


def _check_demand(systems: Systems, hostname: str, demand: AccessDemand | None) -> None:
    """Refuses a rule with which cloudflared admits everybody who gets around Access, or nobody at all."""
    if demand is None:
        raise CheckError("cloudflared demands no token of Access (the rule's originRequest.access)", systems.up)
    team = find_team(systems.public, systems.ids.account, systems.cloudflare_api)
    if demand.team != team:
        raise CheckError(
            f"cloudflared demands a token of the team {demand.team}, and the account's is {team}", systems.up
        )
    audiences = {getattr(one, "aud", None) for one in _applications(systems) if hostname in _places(one)}
    # Without an application nobody gets a token, and its own check says so.
    if audiences and audiences != set(demand.audiences):
        raise CheckError("cloudflared demands the token of another Access application than the hostname's", systems.up)


def dns_record(systems: Systems, hostname: str) -> str:
    """The hostname resolves to the tunnel, through Cloudflare's proxy, without which Access does not apply."""
    target = TARGET.format(systems.tunnel_id)
    listed = systems.cloudflare.dns.records.list(zone_id=systems.ids.zone, name={"exact": hostname})
    found = [one for one in listed if one.type in IN_THE_WAY]
    if len(found) != 1:
        raise CheckError(f"{hostname} has {len(found)} address records, not one", systems.up)
    seen = f"{found[0].type} to {found[0].content}, {'proxied' if found[0].proxied else 'not proxied'}"
    if (found[0].type, found[0].content, found[0].proxied) != ("CNAME", target, True):
        raise CheckError(f"{hostname} is {seen}; it should be a proxied CNAME to {target}", systems.up)
    return f"{hostname} is {seen}"


def public_url(systems: Systems, hostname: str) -> str:
    """Whatever a stranger requests, Access redirects them to the login."""
    answers = {}
    for path in ("/", systems.settings.app.health_path):
        url = f"{url_of(hostname)}{path}"
        answers[url] = answer = systems.http.get(url)
        # An unguarded app may redirect by itself, to one of its own pages.
        leads_to = urljoin(url, answer.headers.get("Location", ""))
        itself = answer.has_redirect_location and urlsplit(leads_to).hostname == hostname
        if itself or answer.status_code == 200:
            raise CheckError(
                f"{url} answers {answer.status_code}{' to itself' if itself else ''} without a login: "
                "ANYBODY CAN OPEN IT",
                f"remove its DNS record in the dashboard now, then {systems.up}",
            )
    for url, answer in answers.items():
        location = answer.headers.get("Location", "")
        if answer.status_code != 302:
            raise CheckError(
                f"{url} answers {answer.status_code}, not 302 to the login", "see the checks of the tunnel and DNS"
            )
        if not (urlsplit(location).hostname or "").endswith(_LOGIN):
            # The rest of the address may contain the request.
            where = urlsplit(location).hostname or "nowhere"
            raise CheckError(f"{url} redirects to {where}, not to a login at *{_LOGIN}", systems.up)
    return f"{hostname} redirects to {urlsplit(location).hostname}"


def cloudflared_egress(systems: Systems) -> str:
    """The tunnel's connector may reach the app in its namespace; otherwise the tunnel answers 502."""
    cloudflared, names = systems.public.cloudflared, systems.names
    found = systems.need("cilium.io/v2", "CiliumNetworkPolicy", names.cloudflared_egress, cloudflared.namespace)
    selected = found["spec"].get("endpointSelector", {}).get("matchLabels")
    if selected != cloudflared.pod_labels:
        raise CheckError(f"it selects pods {selected}, not {cloudflared.pod_labels}", systems.up)
    port = systems.settings.app.port
    wanted = {"app": names.app, POD_NAMESPACE: names.namespace}, {str(port)}
    rules = found["spec"].get("egress") or []
    allowed = [way for rule in rules for way in _ways(rule)]
    if wanted not in allowed:
        shown = "; ".join(f"{labels} at {', '.join(sorted(ports)) or 'no port'}" for labels, ports in allowed)
        raise CheckError(f"it lets cloudflared reach {shown or 'nothing'}, not {wanted[0]} at {port}", systems.up)
    outside = [str(name.get("matchName")) for rule in rules for name in rule.get("toFQDNs") or []]
    if not any(name.endswith(_LOGIN) for name in outside):
        raise CheckError(f"it does not let cloudflared fetch the keys of Access, from <team>{_LOGIN}", systems.up)
    return f"{cloudflared.namespace}/{names.cloudflared_egress} names {names.namespace} and port {port}"


def _ways(rule: Object) -> list[tuple[dict[str, str], set[str]]]:
    """Labels and ports that the rule opens; none for the rule about the cluster's DNS."""
    if any("dns" in (listed.get("rules") or {}) for listed in rule.get("toPorts") or []):
        return []
    ports = {str(port["port"]) for listed in rule.get("toPorts") or [] for port in listed.get("ports") or []}
    return [(endpoint.get("matchLabels", {}), ports) for endpoint in rule.get("toEndpoints") or []]


def _is_public(settings: Settings) -> bool:
    return settings.access.public is not None


def _hostnames(settings: Settings) -> Sequence[str]:
    return settings.access.public.hostnames if settings.access.public else ()


CHECKS = (
    Check(name="access-application", look=application, applies=_is_public, hostnames=_hostnames),
    Check(name="tunnel-rule", look=tunnel_rule, applies=_is_public, hostnames=_hostnames),
    Check(name="dns-record", look=dns_record, applies=_is_public, hostnames=_hostnames),
    Check(name="cloudflared-egress", look=cloudflared_egress, applies=_is_public),
    Check(name="public-url", look=public_url, applies=_is_public, hostnames=_hostnames),
    Check(
        name="public-path",
        look=public_path,
        applies=lambda settings: settings.service_token is not None,
        hostnames=_hostnames,
    ),
)
