"""What GitLab, Cloudflare and its edge may hold besides what `up` made, and what the checks make of it."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Final

import httpx
import pytest
from cloudflare import Cloudflare

from ops.verify import delivery, public
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from settings import Settings
from tests.stacks import PROD
from tests.unit.program import load_settings
from tests.unit.stack_files import with_value
from tests.unit.test_service_token import SERVICE_TOKEN

SETTINGS: Final = load_settings("prod")
assert SETTINGS.access.public
assert SETTINGS.repository
HOST: Final = SETTINGS.access.public.hostnames[0]
MIRROR: Final = SETTINGS.repository.mirror
GITHUB: Final = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
"""Fingerprint of github.com's Ed25519 key, from docs.github.com, "GitHub's SSH key fingerprints"."""
TOKENS: Final = [
    {"id": "ours", "name": f"{SETTINGS.names.service_token} until 2027-01-01"},
    {"id": "another", "name": "another stack's until 2027-01-01"},
]
"""The account's service tokens."""
LOGIN: Final = "https://team.cloudflareaccess.com/cdn-cgi/access/login"


class Accounts(Systems):
    """Accounts with these mirrors and Access applications, and an edge with these answers by path."""

    def __init__(
        self,
        *,
        mirrors: list[Any] | None = None,
        applications: list[Any] | None = None,
        answers: dict[str, httpx.Response] | None = None,
        groups: dict[str, Any] | None = None,
        records: list[Any] | None = None,
        settings: Settings = SETTINGS,
    ) -> None:
        transport = httpx.MockTransport(lambda request: (answers or {})[request.url.path])
        super().__init__(settings, http=httpx.Client(transport=transport))

        def listed(request: httpx.Request) -> httpx.Response:
            by_list = {"service_tokens": TOKENS, "dns_records": records, "apps": applications}
            found = by_list[request.url.path.rpartition("/")[2]] if request.url.params.get("page", "1") == "1" else []
            return httpx.Response(200, json={"success": True, "errors": [], "messages": [], "result": found})

        client = httpx.Client(transport=httpx.MockTransport(listed))
        self.__dict__ |= {
            "_project": (SimpleNamespace(remote_mirrors=SimpleNamespace(list=lambda **_: mirrors)), None),
            "_cloudflare": (Cloudflare(api_token="none", base_url="http://none", http_client=client), None),
            "_ids": (SimpleNamespace(account="a", zone="z"), None),
            "_tunnel_id": ("t", None),
            "_cloudflare_api": (
                SimpleNamespace(get=lambda path: (groups or {})[path.removeprefix("/accounts/a/access/groups/")]),
                None,
            ),
        }


def mirror(**values: Any) -> Any:
    well = {"enabled": True, "last_error": None, "update_status": "finished", "last_successful_update_at": "2026-01-02"}
    return SimpleNamespace(**{"url": MIRROR, "host_keys": [{"fingerprint_sha256": GITHUB}], **well, **values})


@pytest.mark.parametrize(
    ("bad", "seen"),
    [
        ({"last_error": "no access", "update_status": "failed"}, "no access"),
        ({"last_error": "no access", "update_status": "to_retry"}, "no access"),
        ({"update_status": "failed"}, "no reason given"),
        ({"last_successful_update_at": None}, "nothing has been pushed yet"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_mirror_made_by_hand_does_not_hide_the_failure_of_the_other(
    *, bad: dict[str, Any], seen: str, first: bool
) -> None:
    mirrors = [mirror(**bad), mirror()] if first else [mirror(), mirror(**bad)]
    with pytest.raises(CheckError, match=seen) as found:
        delivery.mirror(Accounts(mirrors=mirrors))
    assert "2 mirrors push there: delete the one made by hand" in found.value.seen


def test_several_working_mirrors_pass_and_the_older_success_is_reported() -> None:
    said = delivery.mirror(Accounts(mirrors=[mirror(), mirror(last_successful_update_at="2026-01-01")]))
    assert said == "last success 2026-01-01, no error; 2 mirrors push there: delete the one made by hand"


def test_a_disabled_mirror_next_to_a_working_one_is_ignored() -> None:
    mirrors = [mirror(enabled=False, last_error="no access"), mirror()]
    assert delivery.mirror(Accounts(mirrors=mirrors)) == "last success 2026-01-02, no error"


@pytest.mark.parametrize(
    ("keys", "seen"),
    [
        ([], "it trusts no host key"),
        ([f"{GITHUB[:-1]}x"], f"it trusts {GITHUB[:-1]}x"),
        ([GITHUB, "SHA256:other"], "other"),
    ],
)
def test_a_mirror_with_other_host_keys_than_the_stack_file_fails(keys: list[str], seen: str) -> None:
    trusting = mirror(
        host_keys=[{"fingerprint_sha256": key} for key in keys], last_error="Host key verification failed"
    )
    with pytest.raises(CheckError) as found:
        delivery.mirror(Accounts(mirrors=[trusting]))
    assert seen in found.value.seen
    assert f"repository.hostKeys says {GITHUB}" in found.value.seen


def test_an_https_mirror_has_no_host_key_to_compare() -> None:
    by_https = mirror(url=MIRROR.replace("ssh://git@", "https://*****:*****@"), host_keys=[])
    assert delivery.mirror(Accounts(mirrors=[by_https])).startswith("last success")


EMAIL: Final[dict[str, Any]] = {"email": {"email": "owner@example.com"}}


def application(*policies: tuple[str, str], domain: str = HOST, include: Sequence[Any] = (EMAIL,), **more: Any) -> Any:
    return {
        "type": "self_hosted",
        "domain": domain,
        "policies": [
            {"id": "p", "name": name, "decision": decision, "include": include} for name, decision in policies
        ],
        **more,
    }


OURS: Final = (SETTINGS.access.public.policy_name, "allow")
BYPASS: Final = ("by hand", "bypass")


@pytest.mark.parametrize(
    "more",
    [
        {"self_hosted_domains": ["other.example.com", f"{HOST}/api"]},
        {"destinations": [{"type": "public", "uri": f"{HOST}/api/*"}]},
        {"destinations": [{"type": "private", "hostname": "10.0.0.1"}, {"type": "public", "uri": HOST.upper()}]},
    ],
)
def test_a_bypass_policy_is_found_wherever_its_application_names_the_hostname(
    more: dict[str, Any],
) -> None:
    other = application(BYPASS, domain="other.example.com", **more)
    for applications in ([application(OURS), other], [other, application(OURS)]):
        with pytest.raises(CheckError, match=r"by hand \(bypass\) of invoicetron"):
            public.application(Accounts(applications=applications), HOST)


@pytest.mark.parametrize(
    "more", [{"self_hosted_domains": [HOST]}, {"destinations": [{"type": "public", "uri": f"{HOST}/"}]}]
)
def test_an_application_also_guards_a_hostname_that_is_not_its_first(more: dict[str, Any]) -> None:
    assert public.application(Accounts(applications=[application(OURS, domain="other.example.com", **more)]), HOST)


def test_an_application_of_another_hostname_may_have_any_policy() -> None:
    uris = [f"{HOST}.example.com", f"{HOST}.example.com/admin", "*.example.com/admin"]
    other = application(BYPASS, domain=f"not-{HOST}", destinations=[{"type": "public", "uri": uri} for uri in uris])
    assert public.application(Accounts(applications=[application(OURS), other]), HOST)


def test_the_check_reports_how_many_people_the_policy_lets_in() -> None:
    include = [EMAIL, EMAIL, {"group": {"id": "g"}}, {"email_list": {"id": "l"}}]
    groups = {"g": {"name": "Family", "include": [EMAIL, {"email": {"email": "guest@example.com"}}]}}
    said = public.application(Accounts(applications=[application(OURS, include=include)], groups=groups), HOST)
    assert said.endswith("'Allow Admin', which lets in 2 e-mail addresses, 1 e-mail list")


@pytest.mark.parametrize(
    "place", [f"{HOST}/admin", f"{HOST}/admin/*", "*.example.com/admin", "invoice*.example.com/*/x"]
)
def test_an_application_for_a_path_may_not_let_in_unknown_people_either(place: str) -> None:
    host = HOST.partition(".")[2]
    place = place.replace("example.com", host) if HOST not in place else place
    other = application(("Anybody", "allow"), domain=place, include=[{"everyone": {}}])
    with pytest.raises(CheckError, match=r"lets in more than known people: Anybody of .*: everyone"):
        public.application(Accounts(applications=[application(OURS), other]), HOST)
    known = application(("Family", "allow"), domain=place)
    assert public.application(Accounts(applications=[application(OURS), known]), HOST)


@pytest.mark.parametrize("place", ["*", "invoice*"])
def test_a_wildcard_application_guards_only_what_no_other_does(place: str) -> None:
    other = application(BYPASS, domain=f"{place}.{HOST.partition('.')[2]}")
    assert public.application(Accounts(applications=[application(OURS), other]), HOST)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"everyone": {}}, "everyone"),
        ({"email_domain": {"domain": "example.com"}}, r"email_domain \(example.com\)"),
        ({"a-selector-of-tomorrow": {"x": "y"}}, "a-selector-of-tomorrow"),
        ({"group": {"id": "g"}}, "group Everybody: everyone"),
    ],
)
def test_a_policy_that_lets_in_unknown_people_fails(rule: dict[str, Any], told: str) -> None:
    groups = {"g": {"name": "Everybody", "include": [{"everyone": {}}]}}
    with pytest.raises(CheckError, match=f"more than known people: {told}"):
        public.application(Accounts(applications=[application(OURS, include=[EMAIL, rule])], groups=groups), HOST)


def test_a_path_without_a_login_fails() -> None:
    override = {"behavior": "public", "path_pattern": "/api/*"}
    destination = {"type": "public", "uri": HOST, "overrides": [override]}
    with pytest.raises(CheckError, match=f"requires no login at {HOST}/api/"):
        public.application(Accounts(applications=[application(OURS, destinations=[destination])]), HOST)


def test_a_path_of_another_hostname_may_have_no_login() -> None:
    override = {"behavior": "public", "path_pattern": "/api/*"}
    other = {"type": "public", "uri": "other.example.com", "overrides": [override]}
    assert public.application(Accounts(applications=[application(OURS, destinations=[other])]), HOST)


def test_a_path_that_is_denied_to_everybody_is_not_open() -> None:
    closed = application(("Nobody", "deny"), domain=f"{HOST}/admin", include=[{"everyone": {}}])
    assert public.application(Accounts(applications=[application(OURS), closed]), HOST)


def test_a_bookmark_is_a_link_and_guards_nothing() -> None:
    bookmark = {**application(OURS), "type": "bookmark"}
    with pytest.raises(CheckError, match="no Access application is for"):
        public.application(Accounts(applications=[bookmark]), HOST)
    assert public.application(Accounts(applications=[bookmark, application(OURS)]), HOST)


def by_token(**changes: Any) -> Any:
    """An application that also lets in the stack's service token, by a policy with these changes."""
    own = {"id": "t", "name": SETTINGS.names.service_token, "decision": "non_identity", "include": [of_token("ours")]}
    guarded = application(OURS)
    return {**guarded, "policies": [*guarded["policies"], {**own, **changes}]}


def of_token(id_: str) -> Any:
    return {"service_token": {"token_id": id_}}


@pytest.mark.parametrize(
    "changes",
    [
        {"decision": "bypass"},
        {"name": "by hand"},
        {"include": []},
        {"include": [of_token("another")]},
        {"include": [of_token("ours"), of_token("another")]},
        {"include": [{"any_valid_service_token": {}}]},
    ],
)
def test_past_the_login_comes_only_the_stack_s_own_token(changes: dict[str, Any]) -> None:
    access = Settings.load(PROD, with_value("prod", "access.public.serviceToken", SERVICE_TOKEN)).access
    settings = SETTINGS.model_copy(update={"access": access})
    assert public.application(Accounts(applications=[by_token()], settings=settings), HOST)
    with pytest.raises(CheckError, match="lets people past the login"):
        public.application(Accounts(applications=[by_token(**changes)], settings=settings), HOST)
    with pytest.raises(CheckError, match="lets people past the login"):
        public.application(Accounts(applications=[by_token()]), HOST)  # the stack file has no token


DEMAND: Final = {"access": {"required": True, "teamName": "team", "audTag": ["ours"]}}
RULE: Final = {
    "hostname": HOST,
    "service": f"http://{SETTINGS.names.app}.{SETTINGS.names.namespace}.svc.cluster.local:3000",
    "originRequest": DEMAND,
}


def tunnel_rule(monkeypatch: pytest.MonkeyPatch, *before: Any, applications: Sequence[Any]) -> str:
    """What the check says of a tunnel with these rules before the stack's."""
    document = {"ingress": [*before, RULE, {"service": "http_status:404"}]}
    read = SimpleNamespace(read=lambda: SimpleNamespace(document=document))
    monkeypatch.setattr(public, "Tunnel", lambda *_: read)
    team = {"/accounts/a/access/organizations": {"auth_domain": "team.cloudflareaccess.com"}}
    return public.tunnel_rule(Accounts(applications=[*applications], groups=team), HOST)


@pytest.mark.parametrize(
    "other",
    [
        {**application(OURS), "type": "bookmark", "aud": "of the link"},
        application(OURS, domain="other.example.com", aud="of another hostname"),
    ],
)
def test_the_token_that_the_tunnel_demands_is_that_of_the_hostname_s_own_application(
    monkeypatch: pytest.MonkeyPatch, other: Any
) -> None:
    own = application(OURS, aud="ours")
    assert "leads to" in tunnel_rule(monkeypatch, applications=[other, own])
    with pytest.raises(CheckError, match="the token of another Access application"):
        tunnel_rule(monkeypatch, applications=[other, {**own, "aud": "a new one"}])


def test_a_path_with_the_same_demand_may_lead_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    path = {"hostname": HOST, "path": "^/files", "service": "http://files", "originRequest": DEMAND}
    assert "leads to" in tunnel_rule(monkeypatch, path, applications=[application(OURS, aud="ours")])


def record(type_: str, content: str) -> Any:
    return {"id": type_, "name": HOST, "type": type_, "content": content, "proxied": True, "ttl": 1}


def test_only_records_that_clients_follow_count_as_addresses() -> None:
    own = record("CNAME", "t.cfargotunnel.com")
    said = public.dns_record(Accounts(records=[own, record("TXT", "a word"), record("CAA", "an authority")]), HOST)
    assert said == f"{HOST} is CNAME to t.cfargotunnel.com, proxied"
    with pytest.raises(CheckError, match="has 2 address records"):
        public.dns_record(Accounts(records=[own, record("AAAA", "2001:db8::1")]), HOST)


def leads(status: int, location: str) -> httpx.Response:
    return httpx.Response(status, headers={"Location": location})


@pytest.mark.parametrize(
    "open_",
    [
        {"/": leads(307, "/login"), "/api/health": httpx.Response(200)},
        {"/": leads(307, "/login"), "/api/health": httpx.Response(503)},
        {"/": leads(302, f"https://{HOST}/login"), "/api/health": leads(302, LOGIN)},
        {"/": httpx.Response(502), "/api/health": httpx.Response(200)},
        {"/": leads(302, LOGIN), "/api/health": leads(308, "health/")},
    ],
)
def test_an_app_that_everybody_reaches_fails_whatever_it_answers(
    open_: dict[str, httpx.Response],
) -> None:
    with pytest.raises(CheckError, match="ANYBODY CAN OPEN IT") as found:
        public.public_url(Accounts(answers=open_), HOST)
    assert "remove its DNS record" in found.value.fix


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (httpx.Response(502), "answers 502, not 302"),
        (httpx.Response(302), "redirects to nowhere"),
        (leads(302, "https://elsewhere.example.com/"), "redirects to elsewhere.example.com, not to a login"),
    ],
)
def test_a_missing_redirect_to_the_login_is_blamed_on_the_tunnel_or_on_access(
    answer: httpx.Response, seen: str
) -> None:
    with pytest.raises(CheckError, match=seen):
        public.public_url(Accounts(answers={"/": answer, "/api/health": leads(302, LOGIN)}), HOST)


def test_the_check_passes_if_both_pages_redirect_to_the_login() -> None:
    said = public.public_url(Accounts(answers={path: leads(302, LOGIN) for path in ("/", "/api/health")}), HOST)
    assert said == f"{HOST} redirects to team.cloudflareaccess.com"
