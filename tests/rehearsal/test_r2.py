"""`backup.s3.r2`: one `up` makes the bucket, its lock and its key, and copies are written with that key."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Final

import pytest

from rehearsal.cluster.controlplane import ControlPlane
from rehearsal.engine import EngineError
from rehearsal.toolchain import Tools
from rehearsal.vendors.cloudflare import SCOPES, TOKENS_EDIT
from tests.database.s3_server import s3_server
from tests.rehearsal.backed_up import BackedUp
from tests.rehearsal.cleanup import rehearsed
from tests.rehearsal.stack_files import LATER
from tests.stacks import DEV

BUCKET: Final = "homelab-backups"
ITEM: Final = "Invoicetron R2"


def test_an_r2_bucket_is_created_locked_and_used_and_outlives_the_stack(
    tools: Tools, control_plane: ControlPlane, tmp_path: Path
) -> None:
    with rehearsed(tools, control_plane, tmp_path / "rehearsal") as one:
        r2, account = one.cloudflare.r2, one.cloudflare.account_id
        one.onepassword.put("Invoicetron Off-site", {"password": "a password of the off-site copies"})
        stack = BackedUp(rehearsal=one)
        one.program.init("dev")
        for path, value in {
            "schedule": LATER,
            "r2.accountId": account,
            "r2.bucket": BUCKET,
            "r2.item": f"op://Kubernetes/{ITEM}",
            "password": "op://Kubernetes/Invoicetron Off-site/password",
        }.items():
            one.configure("dev", f"backup.s3.{path}", value)

        poor = {"CLOUDFLARE_API_TOKEN": one.cloudflare.issue_token(*(SCOPES - {TOKENS_EDIT}))}
        with pytest.raises(EngineError, match="The token needs Account > Account API Tokens: Edit"):
            one.program.with_environment(poor).up("dev", "--skip-preview")
        assert not r2.buckets, "refused before the first resource"

        one.program.up("dev")
        assert {rule["prefix"] for rule in r2.rules[BUCKET]} == {
            f"invoicetron-dev/{part}" for part in ("config", "keys/", "snapshots/", "data/")
        }
        (made,) = r2.tokens.values()
        assert made["policies"][0]["resources"] == {f"com.cloudflare.edge.r2.bucket.{account}_default_{BUCKET}": "*"}
        secret = hashlib.sha256(made["value"].encode()).hexdigest()
        fields = {field["label"]: field.get("value") for field in one.onepassword.item(ITEM)["fields"]}
        assert (fields["username"], fields["password"]) == (made["id"], secret)
        state = json.dumps(one.program.export("dev"))
        assert made["value"] not in state
        assert secret not in state
        with s3_server(tmp_path, access_key=made["id"], secret_key=secret, region="auto") as s3:
            control_plane.pods.endpoints[f"{account}.r2.cloudflarestorage.com"] = f"http://127.0.0.1:{s3.port}"
            stack.fill()
            assert stack.ops("backup").returncode == 0
            (backup,) = stack.backups()
            assert f"uploaded {backup}" in stack.run(DEV.upload, "upload-by-hand")
        assert not one.program.up("dev", "--skip-preview", "--refresh").changes

        one.program.destroy("dev", "--skip-preview")
        assert BUCKET in r2.buckets
        assert r2.rules[BUCKET]
        assert not r2.tokens, "the key is deleted with the stack"
        assert ITEM not in one.onepassword.titles()

        with pytest.raises(EngineError, match="already exists, and you own it"):
            one.program.up("dev", "--skip-preview")
        one.configure("dev", "backup.s3.r2.adopt", "true")
        one.program.up("dev", "--skip-preview")
        assert len(r2.tokens) == 1
        assert ITEM in one.onepassword.titles()
