"""How the API answers: tokens and what they may do, refusals, pages of lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from rehearsal.vendors.cloudflare.objects import Object

TUNNEL_EDIT: Final = "Cloudflare Tunnel: Edit"
ACCESS_EDIT: Final = "Access: Apps and Policies: Edit"
SERVICE_TOKENS_EDIT: Final = "Access: Service Tokens: Edit"
DNS_EDIT: Final = "DNS: Edit"
ZONE_READ: Final = "Zone: Read"
ORGANIZATION_READ: Final = "Access: Organizations, Identity Providers, and Groups: Read"
R2_EDIT: Final = "Workers R2 Storage: Edit"
TOKENS_EDIT: Final = "Account API Tokens: Edit"
OF_ACCOUNTS: Final = frozenset({TUNNEL_EDIT, ACCESS_EDIT, SERVICE_TOKENS_EDIT, ORGANIZATION_READ, R2_EDIT, TOKENS_EDIT})
"""Permissions with which a token sees the account itself."""
SCOPES: Final = OF_ACCOUNTS | {DNS_EDIT, ZONE_READ}

_PER_PAGE: Final = 20
_ADDRESSES: Final = frozenset({"A", "AAAA", "CNAME"})


class RefusedError(Exception):
    """An error answer: HTTP status, Cloudflare's code and its message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What a token may do, and where."""

    scopes: frozenset[str]
    account: Object
    expires: str | None = None
    of_account: bool = False
    """Whether the token is the account's own and not a user's."""


def found(objects: dict[str, Object], request: Request, code: int, message: str) -> Object:
    """The object with the id in the path; refused with 404 if there is none."""
    try:
        return objects[request.path_params["id"]]
    except KeyError:
        raise RefusedError(404, code, message) from None


def page_of(listed: list[Object], request: Request) -> Object:
    """The requested page of a list, and its position in the whole."""
    page = int(request.query_params.get("page", 1))
    size = int(request.query_params.get("per_page", _PER_PAGE))
    shown = listed[(page - 1) * size : page * size]
    total = {"total_count": len(listed), "total_pages": -(-len(listed) // size)}
    return {"result": shown, "result_info": {"page": page, "per_page": size, "count": len(shown), **total}}


def check_record(body: Object, named: list[Object]) -> None:
    """Refuses a DNS record that cannot exist beside those of its name. Only these few exclude each other:
    https://developers.cloudflare.com/dns/manage-dns-records/troubleshooting/records-with-same-name/"""
    types = {one["type"] for one in named}
    if body.get("proxied") and body.get("ttl") != 1:
        raise RefusedError(400, 9021, "TTL must be 1 (automatic) for a proxied record")
    if body["type"] == "CNAME" and types & _ADDRESSES:
        raise RefusedError(400, 81053, "An A, AAAA, or CNAME record with that host already exists.")
    if body["type"] in {"A", "AAAA"} and "CNAME" in types:
        raise RefusedError(400, 81054, "A CNAME record with that host already exists.")
    if body["type"] in _ADDRESSES and "NS" in types:
        raise RefusedError(400, 81056, "NS records with that host already exist.")
    if any((one["type"], one["content"]) == (body["type"], body.get("content")) for one in named):
        raise RefusedError(400, 81058, "An identical record already exists.")
