"""The tunnel's one rule, over HTTP: faults heal or end in one clear message, and nobody else's changes are lost."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest

from components.tunnel import Tunnel, TunnelError, _TunnelRuleProvider
from lookups.cloudflare_api import CloudflareApi
from lookups.tunnel_document import TunnelDocumentError, find, with_rule
from rehearsal.homelab import TEAM, ZONE
from rehearsal.vendors.cloudflare import ACCESS_EDIT, TUNNEL_EDIT, Cloudflare
from rehearsal.vendors.server import Call, Fault

OURS = f"invoicetron.{ZONE}"
SERVICE = "http://invoicetron.invoicetron-prod.svc.cluster.local:3000"
AUDIENCE = "a" * 64
DEMAND = {"required": True, "teamName": TEAM, "audTag": [AUDIENCE]}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tunnel.__init__, "__kwdefaults__", {"pause": lambda _: None})


def props(cloudflare: Cloudflare, **changed: Any) -> dict[str, Any]:
    ids = {"account_id": cloudflare.account_id, "tunnel_id": cloudflare.tunnel_id}
    demand = {"team_name": TEAM, "audience": AUDIENCE}
    return {**ids, "hostname": OURS, "service": SERVICE, **demand, "adopt": False, **changed}


def create(cloudflare: Cloudflare, **changed: Any) -> str:
    return str(_TunnelRuleProvider().create(props(cloudflare, **changed)).id)


def test_creating_updating_and_deleting_a_rule_touches_nothing_else(cloudflare: Cloudflare) -> None:
    provider, before = _TunnelRuleProvider(), copy.deepcopy(cloudflare.document)
    id_ = create(cloudflare)
    assert find(cloudflare.document, OURS) == {
        "hostname": OURS,
        "service": SERVICE,
        "originRequest": {"access": DEMAND},
    }
    hostnames = [rule.get("hostname") for rule in cloudflare.document["ingress"]]
    assert hostnames.index(OURS) < hostnames.index(f"*.{ZONE}")
    provider.update(id_, props(cloudflare), props(cloudflare, service="http://elsewhere"))
    assert (provider.read(id_, props(cloudflare)).outs or {})["service"] == "http://elsewhere"
    provider.delete(id_, props(cloudflare))
    assert cloudflare.document == before
    provider.delete(id_, props(cloudflare))
    assert provider.read(id_, props(cloudflare)).id == ""


def test_a_rule_that_is_already_right_is_not_written_again(cloudflare: Cloudflare) -> None:
    create(cloudflare)
    writes = len(cloudflare.app.writes)
    create(cloudflare)
    assert len(cloudflare.app.writes) == writes


def test_a_rule_made_by_hand_is_adopted_only_if_adopt_is_set(cloudflare: Cloudflare) -> None:
    create(cloudflare, service="http://by-hand")
    with pytest.raises(TunnelError, match="adopt"):
        create(cloudflare)
    create(cloudflare, adopt=True)
    assert (find(cloudflare.document, OURS) or {})["service"] == SERVICE


def test_a_changed_hostname_is_added_before_the_old_one_is_removed(cloudflare: Cloudflare) -> None:
    diff = _TunnelRuleProvider().diff("", props(cloudflare), props(cloudflare, hostname=f"new.{ZONE}"))
    assert diff.replaces == ["hostname"]
    assert not diff.delete_before_replace


FAULTS = {
    "429": Fault(status=429, headers={"Retry-After": "1"}, body=b'{"success": false, "errors": []}'),
    "500": Fault(status=500, body=b"{}"),
    "reset": Fault(reset=True),
    "answer lost after the write": Fault(reset=True, after_effect=True),
}


@pytest.mark.parametrize("call", range(7))
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_at_every_call_heals_without_duplicates(cloudflare: Cloudflare, fault: str, call: int) -> None:
    before = copy.deepcopy(cloudflare.document)
    cloudflare.app.fail(FAULTS[fault], call=call)
    create(cloudflare)
    assert [rule.get("hostname") for rule in cloudflare.document["ingress"]].count(OURS) == 1
    assert cloudflare.others_rules(OURS) == before["ingress"]


def test_a_persistent_fault_ends_in_one_message(cloudflare: Cloudflare) -> None:
    cloudflare.app.fail(FAULTS["500"], times=100)
    with pytest.raises(TunnelError, match="failed 5 times"):
        create(cloudflare)


def test_a_refresh_detects_a_rule_changed_by_hand_and_an_update_corrects_it(
    cloudflare: Cloudflare,
) -> None:
    provider, id_ = _TunnelRuleProvider(), create(cloudflare)
    by_hand = [
        {**rule, "service": "http://by-hand"} if rule.get("hostname") == OURS else rule
        for rule in cloudflare.document["ingress"]
    ]
    cloudflare.write({**cloudflare.document, "ingress": by_hand})
    seen = provider.read(id_, props(cloudflare)).outs or {}
    assert provider.diff(id_, seen, props(cloudflare)).changes
    provider.update(id_, seen, props(cloudflare))
    assert (find(cloudflare.document, OURS) or {})["service"] == SERVICE


def test_a_refresh_detects_a_rule_removed_by_hand_which_is_then_created_again(cloudflare: Cloudflare) -> None:
    before, id_ = copy.deepcopy(cloudflare.document), create(cloudflare)
    cloudflare.write(before)
    assert _TunnelRuleProvider().read(id_, props(cloudflare)).id == ""
    assert create(cloudflare) == id_


@pytest.mark.parametrize(
    ("ingress", "message"), [([], "empty"), ([{"hostname": f"blog.{ZONE}", "service": "http://blog"}], "catch-all")]
)
def test_a_document_unlike_that_of_a_shared_tunnel_is_not_written_to(
    cloudflare: Cloudflare, ingress: list[dict[str, Any]], message: str
) -> None:
    cloudflare.document["ingress"] = ingress
    with pytest.raises(TunnelDocumentError, match=message):
        create(cloudflare)
    assert not cloudflare.app.writes


def test_the_recorded_state_of_a_rule_contains_no_token(cloudflare: Cloudflare) -> None:
    result = _TunnelRuleProvider().create(props(cloudflare))
    assert cloudflare.token not in f"{result.id}{result.outs}"


def test_the_error_for_a_token_without_the_permission_names_the_permission(
    cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", cloudflare.issue_token(ACCESS_EDIT))
    with pytest.raises(TunnelError, match="Cloudflare Tunnel: Edit"):
        create(cloudflare)


def test_a_locally_managed_tunnel_is_refused(cloudflare: Cloudflare) -> None:
    cloudflare.source = "local"
    with pytest.raises(TunnelError, match="remote management"):
        create(cloudflare)
    assert not cloudflare.app.writes


def deleted(cloudflare: Cloudflare) -> None:
    cloudflare.delete_tunnel()


def forgotten(cloudflare: Cloudflare) -> None:
    id_ = cloudflare.tunnel_id
    cloudflare.delete_tunnel()
    cloudflare.tunnels = [one for one in cloudflare.tunnels if one["id"] != id_]


def managed_locally(cloudflare: Cloudflare) -> None:
    cloudflare.source = "local"


@pytest.mark.parametrize("become", [deleted, forgotten, managed_locally])
def test_a_rule_is_gone_once_its_tunnel_is_deleted_or_managed_locally(
    cloudflare: Cloudflare, become: Callable[[Cloudflare], None]
) -> None:
    provider, id_, before = _TunnelRuleProvider(), create(cloudflare), props(cloudflare)
    become(cloudflare)
    assert provider.read(id_, before).id == ""
    provider.delete(id_, before)


@pytest.mark.parametrize(("become", "told"), [(deleted, "was deleted at 20"), (forgotten, "there is no tunnel")])
def test_a_rule_in_a_tunnel_that_does_not_exist_fails_with_a_clear_message(
    cloudflare: Cloudflare, become: Callable[[Cloudflare], None], told: str
) -> None:
    before = props(cloudflare)
    become(cloudflare)
    with pytest.raises(TunnelError, match=told):
        _TunnelRuleProvider().create(before)
    with pytest.raises(TunnelError, match=told):
        _TunnelRuleProvider().update("", before, before)
    assert not cloudflare.app.writes


def test_a_token_of_another_account_is_refused_with_a_clear_message(
    cloudflare: Cloudflare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", cloudflare.issue_token(TUNNEL_EDIT, elsewhere=True))
    with pytest.raises(TunnelError, match="in the account of the tunnel"):
        create(cloudflare)


def test_a_rule_of_an_earlier_release_gets_its_access_demand_in_place_and_keeps_manual_additions(
    cloudflare: Cloudflare,
) -> None:
    by_hand = {"hostname": OURS, "service": SERVICE, "originRequest": {"httpHostHeader": "invoices"}, "unknown": 1}
    cloudflare.write({**cloudflare.document, "ingress": [by_hand, *cloudflare.document["ingress"]]})
    earlier = {name: value for name, value in props(cloudflare).items() if name not in {"team_name", "audience"}}
    provider = _TunnelRuleProvider()
    seen = provider.read("id", earlier).outs or {}
    diff = provider.diff("id", seen, props(cloudflare))
    assert (diff.changes, diff.replaces) == (True, [])
    provider.update("id", seen, props(cloudflare))
    assert find(cloudflare.document, OURS) == {
        **by_hand,
        "originRequest": {"httpHostHeader": "invoices", "access": DEMAND},
    }
    assert not provider.diff("id", provider.read("id", props(cloudflare)).outs or {}, props(cloudflare)).changes


@pytest.mark.parametrize(
    "other",
    [
        {"hostname": f"*.{ZONE}", "service": "http_status:403"},
        {"hostname": f"*.{ZONE}", "path": "^/api", "service": "http://elsewhere"},
        {"path": "/", "service": "http://elsewhere"},
        {"hostname": "*", "service": "http://elsewhere"},
    ],
)
def test_a_refresh_detects_a_rule_placed_before_ours_and_an_update_moves_ours_first(
    cloudflare: Cloudflare, other: dict[str, Any]
) -> None:
    provider, id_ = _TunnelRuleProvider(), create(cloudflare)
    cloudflare.write({**cloudflare.document, "ingress": [other, *cloudflare.document["ingress"]]})
    seen = provider.read(id_, props(cloudflare)).outs or {}
    diff = provider.diff(id_, seen, props(cloudflare))
    assert (diff.changes, diff.replaces) == (True, [])
    provider.update(id_, seen, props(cloudflare))
    assert [rule.get("hostname") for rule in cloudflare.document["ingress"]][:2] == [OURS, other.get("hostname")]
    assert not provider.diff(id_, provider.read(id_, props(cloudflare)).outs or {}, props(cloudflare)).changes


@pytest.mark.parametrize(
    "demand",
    [
        {},
        {**DEMAND, "required": False},
        {**DEMAND, "audTag": ["b" * 64]},
        {**DEMAND, "audTag": [AUDIENCE, "b" * 64]},
        {**DEMAND, "teamName": "another"},
    ],
)
def test_a_refresh_detects_a_weakened_access_demand_and_an_update_restores_it(
    cloudflare: Cloudflare, demand: dict[str, Any]
) -> None:
    provider, id_ = _TunnelRuleProvider(), create(cloudflare)
    rules = copy.deepcopy(cloudflare.document["ingress"])
    next(rule for rule in rules if rule.get("hostname") == OURS)["originRequest"] = {"access": demand}
    cloudflare.write({**cloudflare.document, "ingress": rules})
    seen = provider.read(id_, props(cloudflare)).outs or {}
    assert provider.diff(id_, seen, props(cloudflare)).changes
    provider.update(id_, seen, props(cloudflare))
    assert (find(cloudflare.document, OURS) or {})["originRequest"] == {"access": DEMAND}


@pytest.mark.parametrize("missing", ["team_name", "audience"])
def test_no_rule_without_an_access_demand_is_written(cloudflare: Cloudflare, missing: str) -> None:
    with pytest.raises(TunnelError, match="audience tag"):
        create(cloudflare, **{missing: None})
    assert not cloudflare.app.writes


def test_a_version_jump_is_only_a_warning_if_the_document_is_right(
    cloudflare: Cloudflare, capfd: pytest.CaptureFixture[str]
) -> None:
    def interfere(call: Call) -> None:
        if call.method == "PUT":
            cloudflare.write({**cloudflare.document, "theirs": True})

    cloudflare.app.before.append(interfere)
    create(cloudflare)
    assert find(cloudflare.document, OURS)
    told = capfd.readouterr().err
    assert told.startswith("warning: ")
    assert "its version was 7 when it was read and 9 once written" in told


def test_a_version_that_increases_by_one_causes_no_warning(
    cloudflare: Cloudflare, capfd: pytest.CaptureFixture[str]
) -> None:
    create(cloudflare)
    assert capfd.readouterr().err == ""


def test_an_older_document_written_over_ours_is_noticed_and_our_rule_is_written_again(cloudflare: Cloudflare) -> None:
    older = copy.deepcopy(cloudflare.document)
    interfered: list[Call] = []

    def interfere(call: Call) -> None:
        if call.method == "PUT" and not interfered:
            interfered.append(call)
            cloudflare.write({**older, "theirs": True})

    cloudflare.app.after.append(interfere)
    create(cloudflare)
    assert find(cloudflare.document, OURS)
    assert cloudflare.document["theirs"] is True


class TwoEditors(Tunnel):
    """Our side of a tunnel in memory, with another editor who reads or writes the whole document before any call."""

    def __init__(self, api: CloudflareApi, randomness: random.Random) -> None:
        self._api, self._name, self._random = api, "shared", randomness
        self.version = 1
        self.document: dict[str, Any] = {"ingress": [{"service": "http_status:404"}]}
        self._theirs_read: dict[str, Any] | None = None
        self.written = 0

    def _call(self, method: str, path: str = "", **more: Any) -> dict[str, Any]:
        for _ in range(self._random.randrange(3)):
            self._other_editor()
        if not path:
            return {"deleted_at": None}
        if method == "PUT":
            self.document = copy.deepcopy(more["json"]["config"])
            self.version += 1
        return {"version": self.version, "source": "cloudflare", "config": copy.deepcopy(self.document)}

    def _other_editor(self) -> None:
        if self._theirs_read is None:
            self._theirs_read = copy.deepcopy(self.document)
        else:
            self.written += 1
            self.document = {**self._theirs_read, "theirs": self.written}
            self._theirs_read = None
            self.version += 1


def test_in_ten_thousand_interleavings_the_other_s_writes_survive_or_the_loss_is_reported(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "none")
    randomness = random.Random(20261124)  # noqa: S311 - a reproducible order, no secret
    api, told = CloudflareApi(pause=lambda _: None), 0
    for _ in range(10_000):
        tunnel = TwoEditors(api, randomness)
        try:
            tunnel.change(lambda document: with_rule(document, OURS, SERVICE))
        except TunnelError:
            told += 1
            continue
        if capfd.readouterr().err:
            told += 1
            continue
        assert tunnel.document.get("theirs", 0) == tunnel.written, "a write of theirs is lost, and nothing reports it"
    assert 0 < told < 10_000
