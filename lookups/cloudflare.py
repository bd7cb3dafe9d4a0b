"""Looks up what public access refers to, and refuses a policy that would let everybody in, before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pulumi

from components.ownership import DNS_COMMENT
from components.tunnel import TARGET
from sdks import cloudflare
from settings.sections import PublicAccess

_T = TypeVar("_T")


class PublicAccessError(pulumi.RunError):
    """Cloudflare does not have what the stack file names; the message lists every problem."""


@dataclass(frozen=True, kw_only=True)
class CloudflareIds:
    """Ids of the account, zone, tunnel and policy that a stack file names."""

    account_id: str
    zone_id: str
    tunnel_id: str
    policy_id: str
    identity_provider_ids: tuple[str, ...]
    """Empty: every identity provider of the account."""


def look_up(public: PublicAccess, provider: cloudflare.Provider) -> CloudflareIds:
    """Plain, blocking look-ups; raises `PublicAccessError` with everything that is wrong.

    Each product that the stack writes to is read, so that a token which lacks one of them altogether is told all of
    what it lacks. A token that may read and not edit passes here, and is refused by Cloudflare at the first write: the
    API does not tell a token's permissions to the token.
    """
    options = pulumi.InvokeOptions(provider=provider)
    problems: list[str] = []
    zone_id, account_id = public.zone_id, public.account_id
    if zone_id is None or account_id is None:
        zone = _attempt(
            problems,
            f"zone {public.zone!r} (needs Zone > Zone: Read; or give zoneId and accountId)",
            lambda: cloudflare.get_zone(
                filter=cloudflare.GetZoneFilterArgs(name=public.zone, match="all"), opts=options
            ),
        )
        if zone is not None:
            zone_id, account_id = zone_id or zone.zone_id, account_id or zone.account.id
    tunnel_id = policy_id = None
    providers: tuple[str, ...] = ()
    if account_id is not None:
        account = account_id
        tunnel_id = public.tunnel_id or _attempt(
            problems,
            f"tunnel {public.tunnel!r} (needs Account > Cloudflare Tunnel: Edit)",
            lambda: _tunnel_id(public, account, options),
        )
        policy_id = _attempt(
            problems,
            f"Access policy {public.policy_name!r} (needs Account > Access: Apps and Policies: Edit)",
            lambda: _policy_id(public, account, options),
        )
        if tunnel_id is not None:
            found_id = tunnel_id
            _attempt(
                problems,
                f"configuration of tunnel {public.tunnel!r} (needs Account > Cloudflare Tunnel: Edit)",
                lambda: _check_tunnel(account, found_id, options),
            )
        if public.adopt.application is not None:
            _attempt(
                problems,
                f"Access application of {public.hostname!r} (needs Account > Access: Apps and Policies: Edit)",
                lambda: _check_application(public, account, options),
            )
        if public.one_time_pin:
            scope = "Account > Access: Organizations, Identity Providers, and Groups: Read"
            found = _attempt(problems, f"one-time PIN (needs {scope})", lambda: _one_time_pin(account, options))
            providers = found or ()
    if zone_id is not None:
        found_zone = zone_id
        _attempt(
            problems,
            f"DNS record {public.hostname!r} (needs Zone > DNS: Edit)",
            lambda: _check_record(public, found_zone, tunnel_id, options),
        )
    if problems or account_id is None or zone_id is None or tunnel_id is None or policy_id is None:
        listed = "\n".join(f"  {problem}" for problem in problems)
        raise PublicAccessError(f"Public access cannot be set up. Nothing was created or changed.\n{listed}")
    return CloudflareIds(
        account_id=account_id,
        zone_id=zone_id,
        tunnel_id=tunnel_id,
        policy_id=policy_id,
        identity_provider_ids=providers,
    )


def _attempt(problems: list[str], what: str, run: Callable[[], _T]) -> _T | None:
    try:
        return run()
    except Exception as error:  # noqa: BLE001 - an invoke raises a bare Exception with the provider's words
        problems.append(f"{what}: {error}")
        return None


def _tunnel_id(public: PublicAccess, account_id: str, options: pulumi.InvokeOptions) -> str:
    # Without `is_deleted` the tunnels of the past match too.
    wanted = cloudflare.GetZeroTrustTunnelCloudflaredFilterArgs(name=public.tunnel, is_deleted=False)
    found = cloudflare.get_zero_trust_tunnel_cloudflared(account_id=account_id, filter=wanted, opts=options)
    return str(found.id)


def _check_tunnel(account_id: str, tunnel_id: str, options: pulumi.InvokeOptions) -> None:
    found = cloudflare.get_zero_trust_tunnel_cloudflared_config(
        account_id=account_id, tunnel_id=tunnel_id, opts=options
    )
    if found.source == "local":
        raise ValueError(
            "it is configured by a file beside cloudflared (source: local), and what is written to the API has no "
            "effect. Migrate it to remote management in the dashboard, or name another tunnel"
        )


def _check_record(public: PublicAccess, zone_id: str, tunnel_id: str | None, options: pulumi.InvokeOptions) -> None:
    """Refuses a record that leads elsewhere and is not the stack's own, and one of another hostname to adopt."""
    name = cloudflare.GetDnsRecordsNameArgs(exact=public.hostname)
    records = cloudflare.get_dns_records(zone_id=zone_id, name=name, opts=options).results
    _check_adopted("dnsRecord", public.adopt.dns_record, [record.id for record in records])
    for record in records:
        if record.comment == DNS_COMMENT or record.id == public.adopt.dns_record or tunnel_id is None:
            continue
        remedy = f"set access.public.adopt.dnsRecord to {record.id} to take it over, or remove it"
        if record.content != TARGET.format(tunnel_id):
            raise ValueError(f"it exists and leads to {record.content}: {remedy}")
        # Not refused: `ops import-existing` wants a preview of it, and once imported it is in the state as it was.
        pulumi.log.warn(
            f"DNS record {public.hostname!r}: it exists, without this program's comment. Unless it is in the state, "
            f"`up` ends with Cloudflare's refusal of a second one (81053): {remedy}"
        )


def _check_application(public: PublicAccess, account_id: str, options: pulumi.InvokeOptions) -> None:
    listed = cloudflare.get_zero_trust_access_applications(
        account_id=account_id, domain=public.hostname, exact=True, opts=options
    ).results
    found = [str(one.id) for one in listed if one.domain == public.hostname]
    _check_adopted("application", public.adopt.application, found)


def _check_adopted(setting: str, adopted: str | None, found: Sequence[str]) -> None:
    """Refuses the id of what serves another hostname, from which an import would take it."""
    if adopted is not None and adopted not in found:
        right = f", or give {' or '.join(found)}" if found else ""
        raise ValueError(
            f"access.public.adopt.{setting} is {adopted}, which is not of this hostname: remove the setting, as after "
            f"the `up` that adopts{right}"
        )


def _policy_id(public: PublicAccess, account_id: str, options: pulumi.InvokeOptions) -> str:
    """The id of the policy, once it is known to exist, to be reusable, to decide "allow" and to bear the right name.

    A wrong id could be a policy that lets everybody past, and the invoices would be public.
    """
    policy_id = public.policy_id or _policy_named(public.policy_name, account_id, options)
    policy = cloudflare.get_zero_trust_access_policy(account_id=account_id, policy_id=policy_id, opts=options)
    wrong = [
        f"{what} is {given!r}, not {wanted!r}"
        for what, given, wanted in (
            ("its name", policy.name, public.policy_name),
            ("its decision", policy.decision, "allow"),
            ("reusable", policy.reusable, True),
        )
        if given != wanted
    ]
    if wrong:
        raise ValueError(f"{'; '.join(wrong)}. Correct policyId or policyName, or the policy in Zero Trust > Access")
    return policy_id


def _policy_named(name: str, account_id: str, options: pulumi.InvokeOptions) -> str:
    listed = cloudflare.get_zero_trust_access_policies(account_id=account_id, opts=options).results
    found = [str(policy.id) for policy in listed if policy.name == name]
    if len(found) != 1:
        raise ValueError(f"{len(found)} policies have that name, not one: give policyId")
    return found[0]


def _one_time_pin(account_id: str, options: pulumi.InvokeOptions) -> tuple[str, ...]:
    listed = cloudflare.get_zero_trust_access_identity_providers(account_id=account_id, opts=options).results
    found = tuple(str(one.id) for one in listed if one.type == "onetimepin")
    if not found:
        raise ValueError("the account has no such identity provider: add it in Zero Trust > Settings > Authentication")
    return found
