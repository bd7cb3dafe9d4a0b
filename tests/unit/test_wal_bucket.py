"""`database.wal.s3.r2`: the bucket that the program creates for the archive, separate from that of the copies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
import pytest

from lookups.r2 import OUTPUTS, R2Error, look_up, no_lock
from ops.verify.offsite import archive
from ops.verify.systems import Systems
from ops.verify.trouble import CheckError
from rehearsal.vendors.cloudflare import SCOPES, TOKENS_EDIT, Cloudflare
from settings import Settings
from settings.bucket import ARCHIVE, COPIES, R2BucketSettings
from settings.offsite import R2Settings
from settings.ownership import Owner
from settings.references import ItemReference
from tests.stacks import PROD
from tests.unit import test_r2
from tests.unit.answers import R2_TOKEN
from tests.unit.program import Program, run
from tests.unit.reachability import Outsider, Policies
from tests.unit.stack_files import refusal, with_value
from tests.unit.test_offsite import S3
from tests.unit.test_wal_archive import ITEM as KEYS_ITEM
from tests.unit.test_wal_archive import LIVE, store

emulator = test_r2.emulator

R2: Final = {"accountId": test_r2.ACCOUNT, "bucket": "homelab-archive", "item": "op://Kubernetes/Invoicetron Log"}
MADE: Final[dict[str, Any]] = {"r2": R2, "serverSideEncryption": "bucket-default"}
OWN: Final = Owner("invoicetron", "prod")
HOST: Final = f"{test_r2.ACCOUNT}.r2.cloudflarestorage.com"


def database(s3: Mapping[str, Any] = MADE, **wal: Any) -> dict[str, Any]:
    return {"engine": "cloudnative-pg", "wal": {"s3": s3, **wal}}


@pytest.fixture(scope="module")
def prod() -> Program:
    """prod with both buckets."""
    changes = {"database.engine": "cloudnative-pg", "database.wal": {"s3": MADE}, "backup.s3": test_r2.MADE}
    return run("prod", changes, values={"copies-password": "unit-test-copies-pass"})


def test_the_key_of_the_archive_opens_no_bucket_but_its_own(prod: Program) -> None:
    opened = {
        token.inputs["name"]: [*json.loads(policy["resources"])]
        for token in prod.of("AccountToken")
        for policy in token.inputs["policies"]
    }
    resource = f"com.cloudflare.edge.r2.bucket.{test_r2.ACCOUNT}_default_"
    assert opened == {
        "invoicetron-prod-offsite": [f"{resource}homelab-backups"],
        "invoicetron-prod-wal": [f"{resource}homelab-archive"],
    }


def test_the_key_reaches_the_plugin_by_the_secret_and_people_by_1password(prod: Program) -> None:
    value = hashlib.sha256(R2_TOKEN.encode()).hexdigest()
    (token,) = (one for one in prod.of("AccountToken") if one.name == "wal-token")
    secret = prod.one("Secret", "invoicetron-db-wal")
    assert secret.inputs["stringData"] == {
        "access-key": f"{token.name}-id",
        "secret-key": value,
        "region": "auto",
    }
    assert "stringData" in secret.secret_inputs
    (item,) = (one for one in prod.of("RegistryItem") if one.name == "wal-item")
    assert (item.inputs["title"], item.inputs["username"]) == ("Invoicetron Log", f"{token.name}-id")
    assert item.inputs["password"] == value
    assert item.inputs["setting"] == "database.wal.s3.r2.item"


def test_the_store_is_the_bucket_and_the_instances_reach_it(prod: Program) -> None:
    configuration = store(prod)["configuration"]
    assert configuration["endpointURL"] == f"https://{HOST}"
    assert configuration["destinationPath"] == "s3://homelab-archive/wal/invoicetron-prod"
    assert configuration["s3Credentials"]["region"]["key"] == "region"
    assert "encryption" not in configuration["wal"]
    bucket = Outsider(name="the bucket", entity="world", host=HOST)
    policies = Policies([one.inputs for one in prod.of("CiliumNetworkPolicy")])
    assert (LIVE.name, bucket.name, "443/TCP") in set(policies.edges([LIVE, bucket], [LIVE]))


def test_the_bucket_outlives_the_stack_is_marked_and_not_locked(prod: Program) -> None:
    (bucket,) = (one for one in prod.of("R2Bucket") if one.name == "wal-bucket")
    (mark,) = (one for one in prod.of("R2BucketLock") if one.name == "wal-lock")
    assert bucket.request.protect
    assert bucket.request.retainOnDelete
    assert mark.request.retainOnDelete
    (rule,) = mark.inputs["rules"]
    assert rule["enabled"] is False
    assert Owner.marked(rule["id"]) == OWN
    assert mark.urn in prod.waits_for(prod.one("Cluster"))
    assert prod.outputs["wal_bucket"] == "homelab-archive"
    assert prod.outputs["offsite_bucket"] == "homelab-backups"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (database({**MADE, "endpoint": "https://s3.example.com"}), "s3.endpoint"),
        (database({**MADE, "bucket": "homelab-archive"}), "s3.bucket"),
        (database({**MADE, "accessKey": f"{KEYS_ITEM}/access-key"}), "s3.accessKey"),
        (database({**MADE, "secretKey": f"{KEYS_ITEM}/secret-key"}), "nothing together with r2"),
        (database({**MADE, "serverSideEncryption": "AES256"}), "bucket-default with r2"),
        (database({"r2": R2}), "s3.serverSideEncryption"),
        (database({**MADE, "r2": {**R2, "lockDays": 30}}), "s3.r2.lockDays"),
        (database({**MADE, "r2": {**R2, "accountId": "mine"}}), "s3.r2.accountId"),
        ({"wal": {"s3": MADE}}, "only with database.engine: cloudnative-pg"),
        (database(MADE) | {"lostClaim": "unknown"}, "a name that no archive of the bucket has had"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_by_name(given: dict[str, Any], said: str) -> None:
    message = refusal("prod", with_value("prod", "database", given))
    assert said in message
    assert "1 mistake." in message


def test_every_wrong_key_next_to_r2_is_reported_at_once() -> None:
    keys = {"endpoint": "https://s3.example.com", "bucket": "another", "serverSideEncryption": "aws:kms"}
    config = with_value("prod", "database", database({**MADE, **keys}))
    config["backup"] = {**config["backup"], "s3": {**test_r2.MADE, "bucket": "another"}}
    assert "4 mistakes." in refusal("prod", config)


@pytest.mark.parametrize(
    ("copies", "log"),
    [
        (test_r2.MADE, {**MADE, "r2": {**R2, "bucket": "homelab-backups"}}),
        ({**S3, "endpoint": f"https://{HOST}", "bucket": "homelab-archive"}, MADE),
    ],
    ids=["both made", "one made"],
)
def test_the_archive_is_not_in_the_bucket_of_the_copies(copies: dict[str, Any], log: dict[str, Any]) -> None:
    config = with_value("prod", "database", database(log))
    config["backup"] = {**config["backup"], "s3": copies}
    message = refusal("prod", config)
    assert "a bucket other than that of database.wal.s3" in message
    assert "1 mistake." in message


def test_the_key_has_its_own_item() -> None:
    config = with_value("prod", "database", database({**MADE, "r2": {**R2, "item": test_r2.R2["item"]}}))
    config["backup"] = {**config["backup"], "s3": test_r2.MADE}
    assert "an item other than backup.s3.r2.item" in refusal("prod", config)


def settings(emulator: Cloudflare, *, adopt: bool = False) -> R2BucketSettings:
    item = ItemReference("Kubernetes", "Invoicetron Log")
    return R2BucketSettings(account_id=emulator.account_id, bucket="homelab-archive", item=item, adopt=adopt)


def refused(emulator: Cloudflare, **more: R2Settings) -> str:
    with pytest.raises(R2Error) as told:
        look_up({**more, ARCHIVE: settings(emulator)}, OWN, outputs={})
    return str(told.value)


def test_both_buckets_are_looked_up_at_once(emulator: Cloudflare, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = test_r2.settings(emulator)
    assert look_up({COPIES: copies, ARCHIVE: settings(emulator)}, OWN, outputs={}).keys() == {COPIES, ARCHIVE}
    for name in ("homelab-backups", "homelab-archive"):
        emulator.r2.add_bucket(name)
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", emulator.issue_token(*(SCOPES - {TOKENS_EDIT})))
    told = refused(emulator, **{COPIES: copies})
    assert "set backup.s3.r2.adopt to true" in told
    assert "set database.wal.s3.r2.adopt to true" in told
    assert told.count("Account > Account API Tokens: Edit") == 1


def test_a_bucket_that_is_locked_is_not_taken_for_an_archive(emulator: Cloudflare) -> None:
    rules = [{"id": f"{OWN.mark}: data/", "enabled": True, "prefix": "invoicetron-prod/data/"}]
    emulator.r2.add_bucket("homelab-archive", rules)
    with pytest.raises(R2Error, match="it is locked, as that of the off-site copies is"):
        look_up({ARCHIVE: settings(emulator, adopt=True)}, OWN, outputs={})


def test_the_stack_recognises_its_bucket_by_the_mark(emulator: Cloudflare) -> None:
    (rule,) = no_lock(OWN.mark)
    emulator.r2.add_bucket("homelab-archive", [{"id": rule.id, "enabled": rule.enabled, "prefix": rule.prefix}])
    assert look_up({ARCHIVE: settings(emulator)}, OWN, outputs={OUTPUTS[ARCHIVE]: "homelab-archive"})
    with pytest.raises(R2Error, match="rules that are not this stack's"):
        look_up({ARCHIVE: settings(emulator, adopt=True)}, Owner("invoicetron", "dev"), outputs={})


@pytest.fixture
def live(emulator: Cloudflare) -> Systems:
    """A stack whose bucket is as `up` leaves it."""
    r2 = {**R2, "accountId": emulator.account_id}
    loaded = Settings.load(PROD, with_value("prod", "database", database({**MADE, "r2": r2})))
    condition = {"type": "Age", "maxAgeSeconds": 86400}
    rules = [
        {"id": rule.id, "enabled": rule.enabled, "prefix": rule.prefix, "condition": condition}
        for rule in no_lock(PROD.owner.mark)
    ]
    emulator.r2.add_bucket("homelab-archive", rules)
    return Systems(loaded, http=httpx.Client())


BREAK: Final[Mapping[str, tuple[Callable[[Cloudflare], object], str]]] = {
    "gone": (lambda it: it.r2.buckets.clear(), "there is no bucket homelab-archive"),
    "locked": (
        lambda it: it.r2.rules["homelab-archive"][0].update(enabled=True),
        "homelab-archive is locked by 'managed by pulumi: invoicetron/prod: not locked'",
    ),
    "public": (lambda it: it.r2.public.add("homelab-archive"), "can be read without a key, at pub-"),
}


@pytest.mark.parametrize("what", BREAK)
def test_verify_fails_if_the_archive_is_stopped_or_could_be_read(
    emulator: Cloudflare, live: Systems, what: str
) -> None:
    assert archive(live) == "homelab-archive is not locked, and not public"
    break_it, said = BREAK[what]
    break_it(emulator)
    with pytest.raises(CheckError) as told:
        archive(live)
    assert said in told.value.seen
    assert told.value.fix
