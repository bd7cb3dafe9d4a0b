"""Cloudflare: one account with a zone, a shared tunnel, and Zero Trust."""

from rehearsal.emulators.cloudflare.account import POLICY, Cloudflare
from rehearsal.emulators.cloudflare.answers import (
    ACCESS_EDIT,
    DNS_EDIT,
    ORGANIZATION_READ,
    SCOPES,
    TUNNEL_EDIT,
    ZONE_READ,
)
from rehearsal.emulators.cloudflare.objects import TEAM, TUNNEL, ZONE, Object

__all__ = [
    "ACCESS_EDIT",
    "DNS_EDIT",
    "ORGANIZATION_READ",
    "POLICY",
    "SCOPES",
    "TEAM",
    "TUNNEL",
    "TUNNEL_EDIT",
    "ZONE",
    "ZONE_READ",
    "Cloudflare",
    "Object",
]
