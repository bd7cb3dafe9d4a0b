"""Cloudflare: one account with a zone, a shared tunnel, and Zero Trust."""

from rehearsal.vendors.cloudflare.account import POLICY, Cloudflare
from rehearsal.vendors.cloudflare.answers import (
    ACCESS_EDIT,
    DNS_EDIT,
    ORGANIZATION_READ,
    R2_EDIT,
    SCOPES,
    SERVICE_TOKENS_EDIT,
    TOKENS_EDIT,
    TUNNEL_EDIT,
    ZONE_READ,
)
from rehearsal.vendors.cloudflare.objects import Object

__all__ = [
    "ACCESS_EDIT",
    "DNS_EDIT",
    "ORGANIZATION_READ",
    "POLICY",
    "R2_EDIT",
    "SCOPES",
    "SERVICE_TOKENS_EDIT",
    "TOKENS_EDIT",
    "TUNNEL_EDIT",
    "ZONE_READ",
    "Cloudflare",
    "Object",
]
