"""`backup.s3.r2`: the bucket that the program creates, its lock and key, and what is refused before that."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from unittest import mock

import httpx
import pulumi
import pytest

from components.offsite_bucket import lock
from lookups.r2 import DAY, OUTPUTS, R2Error, R2Ids, lock_rules, look_up
from ops.verify import tokens
from ops.verify.offsite import copies
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from rehearsal.vendors.cloudflare import DNS_EDIT, R2_EDIT, SCOPES, TOKENS_EDIT, Cloudflare
from rehearsal.vendors.server import serve
from settings import Settings, SettingsError
from settings.bucket import COPIES
from settings.offsite import R2Settings
from settings.ownership import Owner
from settings.references import ItemReference
from settings.section import today
from tests.stacks import PROD
from tests.unit.answers import R2_TOKEN
from tests.unit.program import Program, run
from tests.unit.stack_files import sections
from tests.unit.test_offsite import S3, container

ACCOUNT: Final = "0123456789abcdef0123456789abcdef"
R2: Final = {"accountId": ACCOUNT, "bucket": "homelab-backups", "item": "op://Kubernetes/Invoicetron R2"}
MADE: Final = {"r2": R2, "password": S3["password"]}
OWN: Final = Owner("invoicetron", "prod")


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloudflare]:
    cloudflare = Cloudflare()
    with serve(cloudflare.app) as url:
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", f"{url}/client/v4")
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", cloudflare.token)
        yield cloudflare


def settings(emulator: Cloudflare, *, adopt: bool = False) -> R2Settings:
    item = ItemReference("Kubernetes", "Invoicetron R2")
    return R2Settings(account_id=emulator.account_id, bucket="homelab-backups", item=item, adopt=adopt)


def load(s3: Mapping[str, Any]) -> Settings:
    found = sections("prod")
    return Settings.load(PROD, {**found, "backup": {**found["backup"], "s3": s3}})


def ask(emulator: Cloudflare, *, adopt: bool = False, recorded: str | None = None) -> R2Ids:
    outputs = {OUTPUTS[COPIES]: recorded} if recorded else {}
    return look_up({COPIES: settings(emulator, adopt=adopt)}, OWN, outputs=outputs)[COPIES]


def refused(emulator: Cloudflare, *, adopt: bool = False) -> str:
    with pytest.raises(R2Error) as told:
        ask(emulator, adopt=adopt)
    return str(told.value)


def test_everything_that_the_token_lacks_is_reported_at_once(
    emulator: Cloudflare, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Workers R2 Storage Bucket Item Write: https://developers.cloudflare.com/r2/api/tokens/#permission-groups
    assert ask(emulator).write_group == "2efd5506f9c8494dacb1fa10a3e7d5b6"
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", emulator.issue_token(*(SCOPES - {R2_EDIT, TOKENS_EDIT})))
    told = refused(emulator)
    assert "Nothing was created or changed." in told
    assert "Account > Workers R2 Storage: Edit" in told
    assert "Account > Account API Tokens: Edit" in told
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", emulator.issue_token(DNS_EDIT, R2_EDIT))
    assert "Workers R2 Storage" not in refused(emulator)


def test_an_account_without_r2_is_told_to_enable_it(emulator: Cloudflare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rehearsal.vendors.cloudflare.r2._GROUPS", {"1": "Workers R2 Storage Bucket Item Read"})
    assert "API tokens: the account has no permission 'Workers R2 Storage Bucket Item Write'" in refused(emulator)


def test_an_existing_bucket_is_taken_over_only_if_the_settings_say_so(emulator: Cloudflare) -> None:
    assert "it does not exist: remove backup.s3.r2.adopt" in refused(emulator, adopt=True)
    emulator.r2.add_bucket("homelab-backups")
    assert "set backup.s3.r2.adopt to true to take it over" in refused(emulator)
    assert ask(emulator, adopt=True)


def test_a_bucket_whose_lock_bears_the_stack_s_mark_is_its_own_and_one_with_other_rules_is_not(
    emulator: Cloudflare, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned = mock.Mock()
    monkeypatch.setattr(pulumi.log, "warn", warned)
    emulator.r2.add_bucket("homelab-backups", [{"id": f"{OWN.mark}: data/"}])
    assert ask(emulator, recorded="homelab-backups")
    assert ask(emulator, adopt=True)
    assert not warned.called
    assert ask(emulator)
    assert "Unless it is in the state, `up` ends with" in warned.call_args.args[0]
    for other in ("by hand", f"{Owner('invoicetron', 'dev').mark}: data/"):
        emulator.r2.rules["homelab-backups"].append({"id": other})
        for adopt in (False, True):
            assert f"it has rules that are not this stack's and would be lost, {other!r}" in refused(
                emulator, adopt=adopt
            )
        emulator.r2.rules["homelab-backups"].pop()


def test_the_lock_covers_what_a_thief_of_the_key_could_ruin_and_nothing_that_restic_deletes_in_every_run() -> None:
    wanted = lock_rules(settings(Cloudflare()), "invoicetron-prod", OWN.mark)
    made = {rule.prefix: rule.condition for rule in lock(wanted)}
    ages: dict[Any, Any] = {prefix: (one.type, one.max_age_seconds) for prefix, one in made.items()}  # type: ignore[union-attr]
    month = ("Age", 30 * 24 * 3600)
    assert ages == {
        "invoicetron-prod/config": ("Indefinite", None),
        "invoicetron-prod/keys/": ("Indefinite", None),
        "invoicetron-prod/snapshots/": month,
        "invoicetron-prod/data/": month,
    }


@pytest.mark.parametrize("key", ["endpoint", "bucket", "accessKey", "secretKey"])
def test_a_bucket_is_either_given_or_created(key: str) -> None:
    with pytest.raises(SettingsError) as told:
        load({each: value for each, value in S3.items() if each != key})
    assert f"backup.s3.{key}" in str(told.value)
    assert "unless the program creates the bucket (r2)" in str(told.value)
    assert load(MADE).s3
    with pytest.raises(SettingsError) as told:
        load({**MADE, key: S3[key]})
    assert f"backup.s3.{key}" in str(told.value)
    assert "nothing together with r2" in str(told.value)


def test_the_key_has_its_own_item() -> None:
    found = sections("prod")
    with pytest.raises(SettingsError, match=r"backup\.s3\.r2\.item(?s:.*)an item other than registry\.item"):
        load({**MADE, "r2": {**R2, "item": found["registry"]["item"]}})
    found["access"]["public"]["serviceToken"] = {"item": R2["item"], "expires": f"{today() + dt.timedelta(days=90)}"}
    with pytest.raises(SettingsError, match=r"an item other than access\.public\.serviceToken\.item"):
        Settings.load(PROD, {**found, "backup": {**found["backup"], "s3": MADE}})


@pytest.fixture(scope="module")
def prod() -> Program:
    return run("prod", {"backup.s3": MADE}, values={"copies-password": "unit-test-copies-pass"})


def test_the_key_is_the_token_s_and_is_written_where_people_find_it(prod: Program) -> None:
    secret = hashlib.sha256(R2_TOKEN.encode()).hexdigest()
    (token,) = prod.of("AccountToken")
    (policy,) = token.inputs["policies"]
    assert json.loads(policy["resources"]) == {f"com.cloudflare.edge.r2.bucket.{ACCOUNT}_default_homelab-backups": "*"}
    held = prod.one("Secret", "invoicetron-db-offsite")
    assert held.secret_inputs
    assert held.inputs["stringData"]["AWS_ACCESS_KEY_ID"] == f"{token.name}-id"
    assert held.inputs["stringData"]["AWS_SECRET_ACCESS_KEY"] == secret
    (item,) = (each for each in prod.of("RegistryItem") if each.name == "offsite-item")
    assert (item.inputs["username"], item.inputs["password"]) == (f"{token.name}-id", secret)
    assert "password" in item.secret_inputs
    (bucket,), (locked,) = prod.of("R2Bucket"), prod.of("R2BucketLock")
    assert locked.urn in prod.waits_for(token), "nothing is uploaded before the lock is there"
    assert bucket.request.protect
    assert bucket.request.retainOnDelete
    assert locked.request.retainOnDelete


def test_copies_are_kept_for_longer_than_the_lock_lasts(prod: Program) -> None:
    env = {each["name"]: each.get("value") for each in container(prod, "invoicetron-db-upload")["env"]}
    assert env["KEEP_WITHIN"] == "32d"
    assert env["AWS_DEFAULT_REGION"] == "auto"
    endpoint = f"https://{ACCOUNT}.r2.cloudflarestorage.com"
    assert env["RESTIC_REPOSITORY"] == f"s3:{endpoint}/homelab-backups/invoicetron-prod"


def with_lock(emulator: Cloudflare, s3: Mapping[str, Any]) -> Systems:
    """A stack whose bucket has the lock that `up` writes."""
    loaded = load(s3)
    assert loaded.s3
    r2 = loaded.s3.r2
    assert r2
    mark, folder = f"{PROD.owner.mark}", loaded.s3.folder(PROD.namespace)
    conditions = {
        rule.id: {"type": "Indefinite"} if rule.seconds is None else {"type": "Age", "maxAgeSeconds": rule.seconds}
        for rule in lock_rules(r2, folder, mark)
    }
    wanted = [
        {"id": rule.id, "enabled": True, "prefix": rule.prefix, "condition": conditions[rule.id]}
        for rule in lock_rules(r2, folder, mark)
    ]
    emulator.r2.add_bucket(r2.bucket, wanted)
    return Systems(loaded, http=httpx.Client())


def mine(emulator: Cloudflare) -> dict[str, Any]:
    return {**MADE, "r2": {**R2, "accountId": emulator.account_id}}


BREAK: Final[Mapping[str, tuple[Callable[[Cloudflare], object], str]]] = {
    "gone": (lambda it: it.r2.buckets.clear(), "there is no bucket homelab-backups"),
    "unlocked": (lambda it: it.r2.rules.update({"homelab-backups": []}), "invoicetron-prod/data/ is not locked"),
    "one rule less": (lambda it: it.r2.rules["homelab-backups"].pop(), "invoicetron-prod/data/ is not locked"),
    "disabled": (
        lambda it: it.r2.rules["homelab-backups"][2].update(enabled=False),
        "the lock of invoicetron-prod/snapshots/ is disabled",
    ),
    "another folder": (
        lambda it: it.r2.rules["homelab-backups"][3].update(prefix="invoicetron-prod/data/0"),
        "the lock of invoicetron-prod/data/ is one of invoicetron-prod/data/0",
    ),
    "shorter": (
        lambda it: it.r2.rules["homelab-backups"][3]["condition"].update(maxAgeSeconds=29 * DAY),
        "invoicetron-prod/data/ is locked for 29 days, not 30",
    ),
    "until a day": (
        lambda it: it.r2.rules["homelab-backups"][3].update(condition={"type": "Date", "date": "2026-01-01T00:00:00Z"}),
        "invoicetron-prod/data/ is locked for 0 days, not 30",
    ),
    "not for good": (
        lambda it: it.r2.rules["homelab-backups"][0].update(condition={"type": "Age", "maxAgeSeconds": 9999 * DAY}),
        "invoicetron-prod/config is not locked indefinitely",
    ),
    "public": (lambda it: it.r2.public.add("homelab-backups"), "can be read without a key, at pub-"),
    "a domain of its own": (
        lambda it: it.r2.domains.update(
            {
                "homelab-backups": [
                    {
                        "domain": "files.example.org",
                        "enabled": True,
                        "status": {"ownership": "active", "ssl": "active"},
                    }
                ]
            }
        ),
        "can be read without a key, at files.example.org",
    ),
}


@pytest.mark.parametrize("what", BREAK)
def test_verify_fails_if_the_copies_could_be_deleted_or_read(emulator: Cloudflare, what: str) -> None:
    systems = with_lock(emulator, mine(emulator))
    assert copies(systems) == "homelab-backups is locked for 30 days, and not public"
    break_it, said = BREAK[what]
    break_it(emulator)
    with pytest.raises(CheckError) as told:
        copies(systems)
    assert said in told.value.seen
    assert told.value.fix


def test_a_lock_that_is_stricter_than_needed_passes(emulator: Cloudflare) -> None:
    systems = with_lock(emulator, mine(emulator))
    rules_ = emulator.r2.rules["homelab-backups"]
    rules_[2]["condition"] = {"type": "Indefinite"}
    rules_[3]["condition"]["maxAgeSeconds"] = 400 * DAY
    rules_[3]["prefix"] = ""
    emulator.r2.domains["homelab-backups"] = [
        {"domain": "x.example.org", "enabled": False, "status": {"ownership": "active", "ssl": "active"}}
    ]
    assert "is locked" in copies(systems)


@pytest.mark.parametrize("of_account", [False, True])
def test_verify_fails_if_the_token_soon_expires_of_a_stack_without_a_public_address(
    emulator: Cloudflare, monkeypatch: pytest.MonkeyPatch, of_account: bool
) -> None:
    (check,) = (one for one in tokens.CHECKS if one.name == "cloudflare-token")
    found = load(mine(emulator))
    private = found.model_copy(update={"access": found.access.model_copy(update={"public": None})})
    assert check.applies(private)
    assert not check.applies(private.model_copy(update={"backup": None}))
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=1, hours=1)
    token = emulator.issue_token(*SCOPES, expires=f"{end:%Y-%m-%dT%H:%M:%SZ}", of_account=of_account)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", token)
    with pytest.raises(CheckError, match=r"CLOUDFLARE_API_TOKEN expires on .* \(days left: 1\)"):
        check.look(Systems(private, http=httpx.Client()))
