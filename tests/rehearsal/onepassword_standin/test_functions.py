"""What the functions of the stand-in for pulumi-onepassword read and refuse."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from rehearsal.plugins.values import Properties, Secret, plain
from rehearsal.vendors import op_command
from rehearsal.vendors.onepassword import UNNAMED, OnePassword, new_id
from rehearsal.vendors.server import Fault, serve
from tests.rehearsal.onepassword_standin.provider import ITEM, Item, Provider, RefusedError, value

# What is read


def test_a_vault_is_found_by_name_and_by_uuid(provider: Provider) -> None:
    vault = provider.invoke("getVault", name="Kubernetes")
    assert vault["id"] == f"vaults/{vault['uuid']}"
    assert provider.invoke("getVault", uuid=vault["uuid"]) == vault


def test_an_item_is_found_by_title_and_by_uuid(provider: Provider, vault: str) -> None:
    item = provider.invoke("getItem", vault=vault, title=ITEM)
    assert item["id"] == f"vaults/{vault}/items/{item['uuid']}"
    assert provider.invoke("getItem", vault=vault, uuid=item["uuid"]) == item


def test_the_section_without_a_name_has_an_id_and_an_empty_label(provider: Provider, vault: str) -> None:
    (section,) = provider.invoke("getItem", vault=vault, title=ITEM)["sections"]
    assert (section["id"], section["label"]) == (UNNAMED, "")
    assert {field["label"] for field in section["fields"]} == {
        "postgres-password",
        "better-auth-secret",
        "database-url",
    }


def test_fields_in_no_section_are_dropped_unless_their_label_is_well_known(
    onepassword: OnePassword, provider: Provider, vault: str
) -> None:
    onepassword.put("Loose", {"hostname": "db.example", "Port": "5432", "postgres-password": "hush"}, section=None)
    item = provider.invoke("getItem", vault=vault, title="Loose")
    assert item["hostname"] == "db.example"
    assert "port" not in item  # labels are case-sensitive
    assert "hush" not in repr(item)


def test_a_field_in_a_section_that_the_item_does_not_list_is_dropped(
    onepassword: OnePassword, provider: Provider, vault: str
) -> None:
    onepassword.item(ITEM)["sections"].clear()
    assert provider.invoke("getItem", vault=vault, title=ITEM)["sections"] == []


def test_built_in_fields_are_returned_beside_the_sections(
    onepassword: OnePassword, provider: Provider, vault: str
) -> None:
    onepassword.put("Login", {}, username="somebody", password="hush")
    item = provider.invoke("getItem", vault=vault, title="Login")
    assert (item["username"], item["password"]) == ("somebody", "hush")


def test_functions_return_plain_values_and_never_secrets(provider: Provider, vault: str) -> None:
    item = provider.invoke("getItem", vault=vault, title=ITEM)
    assert item == plain(item)


def test_every_secret_value_handed_out_is_remembered(onepassword: OnePassword, provider: Provider, vault: str) -> None:
    assert not onepassword.handed_out
    item = provider.invoke("getItem", vault=vault, title=ITEM)
    assert onepassword.handed_out == {field["value"] for part in item["sections"] for field in part["fields"]}


def test_a_changed_field_is_read_at_once_and_the_old_value_stays_remembered(
    onepassword: OnePassword, provider: Provider, vault: str
) -> None:
    before = value(provider.invoke("getItem", vault=vault, title=ITEM), "postgres-password")
    onepassword.rotate("dev")
    after = value(provider.invoke("getItem", vault=vault, title=ITEM), "postgres-password")
    assert before != after
    assert {before, after} <= onepassword.handed_out


def test_two_rehearsals_have_no_secret_in_common() -> None:
    def secrets_of(one: OnePassword) -> set[str]:
        items = [one.item(title) for title in one.titles()]
        return {field["value"] for item in items for field in item["fields"] if field["type"] == "CONCEALED"} - {""}

    assert secrets_of(OnePassword.seeded()).isdisjoint(secrets_of(OnePassword.seeded()))


# What is refused


def test_the_error_names_a_vault_that_does_not_exist(provider: Provider) -> None:
    with pytest.raises(RefusedError, match=r"^Client Error: No vault found with name '\"Nowhere\"'$"):
        provider.invoke("getVault", name="Nowhere")


def test_two_vaults_of_the_same_name_are_refused(onepassword: OnePassword, provider: Provider) -> None:
    onepassword.add_vault("Kubernetes")
    with pytest.raises(RefusedError, match="Multiple vaults found with name"):
        provider.invoke("getVault", name="Kubernetes")


@pytest.mark.parametrize(("title", "count"), [("Nothing", 0), ("Twice", 2)])
def test_a_title_must_identify_exactly_one_item(
    onepassword: OnePassword, provider: Provider, vault: str, title: str, count: int
) -> None:
    for _ in range(count):
        onepassword.put(title, {})
    words = f'^Client Error: Unable to read item, got error: Found {count} item\\(s\\) in vault "{vault}" with title'
    with pytest.raises(RefusedError, match=words):
        provider.invoke("getItem", vault=vault, title=title)


def test_an_item_of_another_vault_is_not_found_by_uuid(
    onepassword: OnePassword, provider: Provider, vault: str
) -> None:
    onepassword.add_vault("Private")
    elsewhere = onepassword.put("Elsewhere", {}, vault="Private")
    with pytest.raises(RefusedError, match=f"status 404: item {elsewhere} not found"):
        provider.invoke("getItem", vault=vault, uuid=elsewhere)


@pytest.mark.parametrize("arguments", [{}, {"title": ITEM, "uuid": new_id()}])
def test_an_item_is_requested_by_either_title_or_uuid(
    provider: Provider, vault: str, arguments: dict[str, str]
) -> None:
    with pytest.raises(RefusedError, match="exactly one of title, uuid"):
        provider.invoke("getItem", vault=vault, **arguments)


def test_a_wrong_token_is_a_401(process: Provider, url: str) -> None:
    process.configure(url=url, token="wrong")
    with pytest.raises(RefusedError, match=r"^Client Error: Unable to read vault, got error: status 401"):
        process.invoke("getVault", name="Kubernetes")


def test_a_token_for_other_vaults_does_not_see_this_one(
    onepassword: OnePassword, process: Provider, url: str, vault: str
) -> None:
    onepassword.add_vault("Private")
    process.configure(url=url, token=onepassword.issue_token("Private"))
    with pytest.raises(RefusedError, match="No vault found"):
        process.invoke("getVault", name="Kubernetes")
    with pytest.raises(RefusedError, match=r"status 403: vault \w+ is not in scope"):
        process.invoke("getItem", vault=vault, title=ITEM)


def test_a_read_only_token_creates_nothing(
    onepassword: OnePassword, process: Provider, url: str, inputs: Properties
) -> None:
    process.configure(url=url, token=onepassword.issue_token("Kubernetes", write=False))
    before = onepassword.titles()
    with pytest.raises(RefusedError, match=r"1Password Item create error: .* status 401: Unauthorized Request"):
        Item(process).create(inputs)
    assert onepassword.titles() == before


def test_the_error_names_a_server_that_does_not_answer_without_its_token(process: Provider) -> None:
    with serve(OnePassword().app) as gone:
        pass
    process.configure(url=gone, token="hush-hush")
    with pytest.raises(RefusedError, match=gone) as refused:
        process.invoke("getVault", name="Kubernetes")
    assert "hush-hush" not in str(refused.value)


def test_an_answer_that_is_not_json_fails_with_a_clear_message(onepassword: OnePassword, provider: Provider) -> None:
    onepassword.app.fail(Fault(status=502, body=b"<html>Bad Gateway</html>"))
    with pytest.raises(RefusedError, match="decoding error response"):
        provider.invoke("getVault", name="Kubernetes")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "Invalid provider configuration"),
        ({"url": "http://127.0.0.1:1"}, "Invalid provider configuration"),
        ({"url": "http://127.0.0.1:1", "token": "hush", "account": "my"}, "Config conflict.*Both are set"),
    ],
)
def test_incomplete_or_conflicting_credentials_are_refused(
    process: Provider, config: dict[str, str], words: str
) -> None:
    with pytest.raises(RefusedError, match=words) as refused:
        process.configure(**config)
    assert "hush" not in str(refused.value)


def test_credentials_from_the_environment_are_recorded_unless_the_program_gives_others() -> None:
    provider = Provider(OP_CONNECT_HOST="http://127.0.0.1:1", OP_CONNECT_TOKEN="hush")
    try:
        assert provider.check_config() == {"url": "http://127.0.0.1:1", "token": Secret("hush")}
        assert provider.check_config(url="http://127.0.0.1:2")["url"] == "http://127.0.0.1:2"
    finally:
        provider.stop()


def test_recorded_credentials_take_precedence_over_those_of_the_environment(onepassword: OnePassword, url: str) -> None:
    provider = Provider(OP_CONNECT_HOST=url, OP_CONNECT_TOKEN=onepassword.token)
    try:
        provider.configure(url=url, token="revoked-since")
        with pytest.raises(RefusedError, match="status 401"):
            provider.invoke("getVault", name="Kubernetes")
    finally:
        provider.stop()


def test_with_a_service_account_it_runs_op(onepassword: OnePassword, url: str, tmp_path: Path) -> None:
    op = tmp_path / "op"
    op.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m rehearsal.vendors.op_command "$@"\n')
    op.chmod(0o755)
    account = {"OP_SERVICE_ACCOUNT_TOKEN": onepassword.token, "OP_CLI_PATH": str(op), op_command.SERVER: url}
    provider = Provider(**account)
    try:
        provider.configure()
        vault = provider.invoke("getVault", name="Kubernetes")["uuid"]
        item = provider.invoke("getItem", vault=vault, title=ITEM)
        assert provider.invoke("getItem", vault=vault, uuid=item["uuid"]) == item
        with pytest.raises(RefusedError, match=r'op error: "Nothing" isn.t an item in the ".*" vault'):
            provider.invoke("getItem", vault=vault, title="Nothing")
    finally:
        provider.stop()


def test_without_configuration_the_environment_names_the_server(onepassword: OnePassword, url: str) -> None:
    provider = Provider(OP_CONNECT_HOST=url, OP_CONNECT_TOKEN=onepassword.token)
    try:
        provider.configure()
        assert provider.invoke("getVault", name="Kubernetes")["name"] == "Kubernetes"
    finally:
        provider.stop()
