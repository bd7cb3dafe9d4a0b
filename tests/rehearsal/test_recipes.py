"""The recipes that start from more than a stack: each block of docs/recipes.md is run unchanged."""

from __future__ import annotations

import base64
import json
from typing import Any

from components.pull_credentials import CONFIG, SECRET
from rehearsal.rehearsal import Rehearsal
from tests.pages import REPOSITORY, blocks
from tests.rehearsal.test_delivery import active_tokens
from tests.rehearsal.test_pages import run

RECIPES = REPOSITORY / "docs" / "recipes.md"
APP_ITEM = "Invoicetron Dev"
KEYS = "sk_live_4eC39HqLyjWDarjtT1zdp7dc", "sk_live_Tz9mB2wQkN5vR8xY1cF6hJ3d"


def follow(rehearsal: Rehearsal, words: str) -> None:
    """Runs the one block that contains these words."""
    (block,) = (one for one in blocks(RECIPES) if words in one.text)
    assert block.mark == f"rehearsed-by {__name__.replace('.', '/')}.py"
    status, output = run(rehearsal, block.text)
    assert status == 0, output


def get(rehearsal: Rehearsal, kind: str, name: str) -> dict[str, Any]:
    return rehearsal.get(kind, name, namespace="invoicetron-dev")


def held(rehearsal: Rehearsal) -> dict[str, str]:
    """What the app's Secret holds."""
    data = get(rehearsal, "secret", "invoicetron-app")["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def test_a_further_secret_is_added_rotated_and_removed_without_being_shown(rehearsal: Rehearsal) -> None:
    program, first, second = rehearsal.program, *KEYS
    program.init("dev")
    program.up("dev", "--skip-preview")
    before = get(rehearsal, "secret", "invoicetron-app")
    rehearsal.onepassword.add_field(APP_ITEM, "stripe-key", first)
    follow(rehearsal, "app.secrets.STRIPE_KEY")
    assert get(rehearsal, "secret", "invoicetron-app")["metadata"]["uid"] == before["metadata"]["uid"]
    assert held(rehearsal)["STRIPE_KEY"] == first
    template = get(rehearsal, "deployment", "invoicetron")["spec"]["template"]
    variables = {one["name"]: one for one in template["spec"]["containers"][0]["env"]}
    assert variables["STRIPE_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "invoicetron-app", "key": "STRIPE_KEY"}
    assert not program.up("dev", "--skip-preview").changes

    rehearsal.onepassword.set_field(APP_ITEM, "stripe-key", second)
    shown = [program.preview("dev", "--diff").output]
    rotated = program.up("dev", "--skip-preview", "--diff")
    assert set(rotated.changes) == {"app", "app-secret"}
    assert set(rotated.changes.values()) == {"update"}
    assert held(rehearsal)["STRIPE_KEY"] == second
    annotations = get(rehearsal, "deployment", "invoicetron")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["checksum/secrets"] != template["metadata"]["annotations"]["checksum/secrets"]
    shown += [rotated.output, json.dumps(program.export("dev")), json.dumps(program.outputs("dev"))]
    assert not [text for text in shown for key in KEYS if key in text]

    program.run("config", "rm", "--stack", "dev", "--path", "invoicetron:app.secrets")
    program.up("dev", "--skip-preview")
    assert held(rehearsal).keys() == {"database-url", "better-auth-secret"}


def test_images_are_pulled_from_another_registry_with_the_login_of_its_item(rehearsal: Rehearsal) -> None:
    program = rehearsal.program
    program.init("dev")
    program.up("dev", "--skip-preview")
    assert active_tokens(rehearsal)
    rehearsal.onepassword.put("Example Registry", {}, username="puller", password="example-registry-password")
    follow(rehearsal, "registry.server")
    login = json.loads(base64.b64decode(get(rehearsal, "secret", SECRET)["data"][CONFIG]))["auths"]
    assert login.keys() == {"registry.example.com"}
    assert (login["registry.example.com"]["username"], login["registry.example.com"]["password"]) == (
        "puller",
        "example-registry-password",
    )
    assert not active_tokens(rehearsal)
    assert not program.up("dev", "--skip-preview").changes


def test_a_second_public_hostname_and_another_policy_are_applied(rehearsal: Rehearsal) -> None:
    cloudflare = rehearsal.cloudflare
    rehearsal.program.init("prod")
    rehearsal.program.up("prod", "--skip-preview")
    follow(rehearsal, "access.public.hostnames[1]")
    assert sorted(one["domain"] for one in cloudflare.applications.values()) == [
        "invoices.rommelporras.com",
        "invoicetron.rommelporras.com",
    ]
    family = cloudflare.add_policy("Allow Family")
    follow(rehearsal, "Allow Family")
    assert {policy["id"] for one in cloudflare.applications.values() for policy in one["policies"]} == {family}
