"""The objects that Cloudflare's API answers with, and the fields that its published schema requires.

`tests/contract/test_cloudflare.py` parses each of them with the official client's own models.
"""

from __future__ import annotations

import datetime as dt
import secrets
import uuid
from typing import Any

from rehearsal.homelab import TEAM, ZONE

Object = dict[str, Any]


def now() -> str:
    """The current time in the API's format."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_account(name: str) -> Object:
    """An account."""
    return {
        "id": secrets.token_hex(16),
        "name": name,
        "type": "standard",
        "settings": {"enforce_twofactor": False},
        "created_on": now(),
    }


def new_zone(account: Object) -> Object:
    """A zone whose name servers are set."""
    return {
        "id": secrets.token_hex(16),
        "name": ZONE,
        "status": "active",
        "paused": False,
        "type": "full",
        "development_mode": 0,
        "name_servers": ["amy.ns.cloudflare.com", "bob.ns.cloudflare.com"],
        "original_name_servers": None,
        "original_registrar": None,
        "original_dnshost": None,
        "created_on": now(),
        "modified_on": now(),
        "activated_on": now(),
        "account": {"id": account["id"], "name": account["name"]},
        "owner": {"id": None, "type": "user", "email": None},
        "plan": {"id": "0feeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "name": "Free Website", "price": 0},
        "meta": {"page_rule_quota": 3, "custom_certificate_quota": 0, "phishing_detected": False},
        "permissions": ["#zone:read"],
        "tenant": {"id": None, "name": None},
        "tenant_unit": {"id": None},
    }


def new_tunnel(account: Object, name: str) -> Object:
    """A tunnel whose connector is up. A deletion sets `deleted_at`; the tunnel stays readable."""
    return {
        "id": str(uuid.uuid4()),
        "account_tag": account["id"],
        "name": name,
        "config_src": "cloudflare",
        "remote_config": True,
        "status": "healthy",
        "tun_type": "cfd_tunnel",
        "created_at": now(),
        "deleted_at": None,
        "conns_active_at": now(),
        "conns_inactive_at": None,
        "connections": [],
        "metadata": {},
    }


def new_organization() -> Object:
    """The account's Zero Trust organization."""
    return {
        "auth_domain": f"{TEAM}.cloudflareaccess.com",
        "name": "Homelab",
        "is_ui_read_only": False,
        "auto_redirect_to_identity": False,
        "login_design": {},
        "created_at": now(),
        "updated_at": now(),
    }


def new_rules(
    include: list[Object], require: list[Object] | None = None, exclude: list[Object] | None = None
) -> Object:
    """What a policy and a group have in common."""
    return {"include": include, "require": require or [], "exclude": exclude or []}


def new_policy(id_: str, name: str, decision: str, rules: Object, *, reusable: bool) -> Object:
    """An Access policy. An application's own policy has no key `reusable`."""
    return {
        "id": id_,
        "name": name,
        "decision": decision,
        **({"reusable": True} if reusable else {}),
        "app_count": 0,
        "session_duration": "24h",
        **rules,
        "created_at": now(),
        "updated_at": now(),
    }


def new_group(id_: str, name: str, rules: Object) -> Object:
    """An Access group."""
    return {"id": id_, "name": name, **rules, "created_at": now(), "updated_at": now()}


def new_service_token(id_: str, name: str, duration: str) -> Object:
    """An Access service token, without its secret; `duration` is in hours."""
    end = dt.datetime.now(dt.UTC) + dt.timedelta(hours=int(duration.removesuffix("h")))
    return {
        "id": id_,
        "name": name,
        "client_id": f"{secrets.token_hex(16)}.access",
        "duration": duration,
        "expires_at": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "created_at": now(),
        "updated_at": now(),
    }


def new_identity_provider() -> Object:
    """The one-time PIN, which every account starts with."""
    return {
        "id": str(uuid.uuid4()),
        "name": "PIN",
        "type": "onetimepin",
        "config": {},
        "created_at": now(),
        "updated_at": now(),
    }


def stored_application(body: Object, policies: list[Object], kept: Object) -> Object:
    """An Access application once it is stored: destinations and defaults are filled in, policies are expanded."""
    domains = body.get("self_hosted_domains") or [body["domain"]]
    return {
        "allowed_idps": [],
        "app_launcher_visible": True,
        "auto_redirect_to_identity": False,
        "enable_binding_cookie": False,
        "http_only_cookie_attribute": True,
        "options_preflight_bypass": False,
        "session_duration": "24h",
        "tags": [],
        "self_hosted_domains": domains,
        "destinations": [{"type": "public", "uri": domain} for domain in domains],
        **body,
        **kept,
        "policies": policies,
        "updated_at": now(),
    }


def stored_record(body: Object, zone: Object, kept: Object) -> Object:
    """A DNS record once it is stored."""
    flattens = {"flatten_cname": False} if body["type"] == "CNAME" else {}
    return {
        "ttl": 1,
        "proxied": False,
        "settings": flattens,
        "comment": None,
        "tags": [],
        **body,
        **kept,
        "zone_id": zone["id"],
        "zone_name": zone["name"],
        "proxiable": body["type"] in {"A", "AAAA", "CNAME"},
        "meta": {},
        "modified_on": now(),
    }


def shared_document() -> Object:
    """The shared tunnel's document in the homelab before invoicetron, unknown keys included."""
    return {
        "ingress": [
            {"hostname": f"portfolio.{ZONE}", "service": "http://portfolio.portfolio-prod.svc.cluster.local:80"},
            {
                "hostname": f"blog.{ZONE}",
                "service": "http://ghost.ghost-prod.svc.cluster.local:2368",
                "originRequest": {"noTLSVerify": True, "a-key-of-tomorrow": [1, 2]},
            },
            {"hostname": f"status.{ZONE}", "path": "^/public", "service": "http://status.status.svc.cluster.local:80"},
            {"hostname": f"*.{ZONE}", "service": "http_status:403", "originRequest": {}},
            {"service": "http_status:404"},
        ],
        "originRequest": {"connectTimeout": 10},
        "warp-routing": {"enabled": True},
        "another-unknown-key": {"x": None},
    }
