"""Secrets: what is read from 1Password, what is refused, and that no message ever carries a value."""

from __future__ import annotations

import secrets

import pulumi
import pulumi_onepassword as onepassword
import pytest

from lookups.secrets import read_secrets
from settings import Settings
from tests.unit.account import (
    AUTH,
    CONFIG,
    PASSWORD,
    TOKEN,
    URL,
    VAULT,
    OnePassword,
    app_item,
    changed,
    plain,
    read,
    refusal,
    section,
)


def test_every_value_arrives_as_a_secret() -> None:
    found = read(OnePassword())
    assert plain(found.postgres_password) == PASSWORD
    assert plain(found.better_auth_secret) == AUTH
    assert plain(found.database_url) == URL
    assert plain(found.registry_username) == "gitlab+deploy-token-1"
    assert plain(found.registry_password) == TOKEN


def test_the_secrets_do_not_show_when_printed() -> None:
    shown = repr(read(OnePassword()))
    assert PASSWORD not in shown
    assert AUTH not in shown


def test_each_vault_and_item_is_asked_for_once() -> None:
    account = OnePassword()
    read(account)
    assert account.asked == {"Kubernetes": 1, "Invoicetron Dev": 1, "Invoicetron Deploy Token": 1}


def test_vault_and_item_may_be_named_by_uuid() -> None:
    account, uuid = OnePassword(), "b" * 26
    account.items[uuid] = account.items["Invoicetron Dev"]
    found = read(account, postgresPassword=f"op://{VAULT}/{uuid}/postgres-password")
    assert plain(found.postgres_password) == PASSWORD


def test_fields_are_found_in_named_sections_and_in_any_case() -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"] = {
        "sections": [
            section("s1", "Database", POSTGRES_Password=PASSWORD),
            section("s2", "App", better_auth_secret=AUTH, database_url=URL),
            {"id": "s3", "label": "empty", "fields": None},
        ]
    }
    assert plain(read(account).postgres_password) == PASSWORD
    assert (
        plain(
            read(
                account, postgresPassword="op://Kubernetes/Invoicetron Dev/database/postgres-password"
            ).postgres_password
        )
        == PASSWORD
    )


def test_fields_are_found_by_their_id() -> None:
    account = OnePassword()
    identity = account.items["Invoicetron Dev"]["sections"][0]["fields"][0]["id"]
    assert (
        plain(read(account, postgresPassword=f"op://Kubernetes/Invoicetron Dev/{identity}").postgres_password)
        == PASSWORD
    )


def test_a_field_in_a_section_comes_before_a_well_known_one() -> None:
    account = OnePassword()
    account.items["Invoicetron Deploy Token"]["sections"] = [section("s", "registry", password=TOKEN + "x")]
    assert plain(read(account).registry_password) == TOKEN + "x"


@pytest.mark.parametrize(
    ("label", "output"), [("password", "password"), ("credential", "credential"), ("Server", "hostname")]
)
def test_well_known_fields_are_found_beside_the_sections(label: str, output: str) -> None:
    account = OnePassword()
    account.items["Login"] = {output: PASSWORD}
    assert plain(read(account, postgresPassword=f"op://Kubernetes/Login/{label}").postgres_password) == PASSWORD


def test_a_missing_vault_is_told_once_with_its_name() -> None:
    message = refusal(OnePassword(vaults={}))
    assert "(1 problem)" in message
    assert "the vault 'Kubernetes'" in message
    assert "no such vault" in message


def test_two_vaults_of_one_name_are_refused() -> None:
    assert "several vaults have this name" in refusal(OnePassword(vaults={"Kubernetes": 2}))


def test_a_missing_item_is_told_once_however_many_fields_are_wanted_of_it() -> None:
    account = OnePassword()
    del account.items["Invoicetron Dev"]
    message = refusal(account)
    assert "op://Kubernetes/Invoicetron Dev\n" in message
    assert "no such item" in message
    assert "(1 problem)" in message


def test_two_items_of_one_title_are_refused() -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"] = [account.items["Invoicetron Dev"]] * 2
    assert "several items have this title" in refusal(account)


def test_a_missing_field_is_told_with_the_fields_there_are() -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"] = app_item(postgres_passwort=PASSWORD, better_auth_secret=AUTH)
    message = refusal(account)
    assert "no field 'postgres-password'" in message
    assert "better-auth-secret, postgres-passwort" in message


def test_a_missing_section_is_told() -> None:
    message = refusal(OnePassword(), postgresPassword="op://Kubernetes/Invoicetron Dev/prod/postgres-password")
    assert "no section 'prod'" in message


def test_a_field_in_two_sections_is_refused_with_both() -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"]["sections"].append(section("s", "old", postgres_password=PASSWORD))
    message = refusal(account)
    assert "2 fields 'postgres-password'" in message
    assert "'add more'" in message
    assert "'old'" in message


def test_the_reference_may_choose_between_two_sections() -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"]["sections"].append(section("s", "old", postgres_password="before"))
    chosen = "op://Kubernetes/Invoicetron Dev/add more/postgres-password"
    assert plain(read(account, postgresPassword=chosen).postgres_password) == PASSWORD


def test_all_problems_are_told_together() -> None:
    account = changed(
        postgres_password=f" {PASSWORD}", better_auth_secret=AUTH[:20], database_url=URL.replace(":5432", ":1")
    )
    account.items["Invoicetron Deploy Token"] = []
    message = refusal(account)
    assert "(4 problems)" in message
    assert message.count("fix:") == 4


def test_an_unreachable_server_is_told_in_its_own_words() -> None:
    message = refusal(OnePassword(broken="dial tcp 127.0.0.1:1: connect: connection refused"))
    assert "connection refused" in message
    assert "OP_CONNECT_HOST" in message


def test_credentials_that_the_program_issues_itself_are_not_read() -> None:
    account = OnePassword()
    del account.items["Invoicetron Deploy Token"]
    pulumi.runtime.set_mocks(account, project="invoicetron", stack="dev")
    delivery = {
        "project": "0xwsh/invoicetron",
        "branch": "develop",
        "environment": {"name": "development", "tier": "development"},
        "pullCredentials": {"issue": True, "expires": "2027-12-31"},
    }
    found = read_secrets(Settings.load("dev", {**CONFIG, "delivery": delivery}), onepassword.Provider("onepassword"))
    assert found.registry_username is None
    assert found.registry_password is None


def test_an_item_that_the_stack_itself_writes_its_token_to_is_not_read_when_it_no_longer_issues_one() -> None:
    account = OnePassword()
    item = account.items["Invoicetron Deploy Token"]
    item["sections"] = [section("a", "issued by pulumi", **{"deploy token": "invoicetron-pull-dev"})]
    message = refusal(account)
    assert "op://Kubernetes/Invoicetron Deploy Token\n" in message
    assert "the item is this program's own" in message
    assert "name another one in registry.item" in message
    item["sections"] = [section("a", "issued by pulumi", **{"deploy token": "invoicetron-pull-prod"})]
    assert plain(read(account).registry_password) == TOKEN


def test_a_checksum_changes_with_its_secrets_and_with_nothing_else() -> None:
    other = secrets.token_hex(20)
    now = read(OnePassword())
    rotated = read(changed(postgres_password=other, database_url=URL.replace(PASSWORD, other)))
    assert now.checksum("postgres_password") == read(OnePassword()).checksum("postgres_password")
    assert now.checksum("postgres_password") != rotated.checksum("postgres_password")
    assert now.checksum("better_auth_secret") == rotated.checksum("better_auth_secret")
    assert now.checksum("database_url", "better_auth_secret") == now.checksum("better_auth_secret", "database_url")


def test_a_checksum_is_keyed_so_that_guesses_cannot_be_tried() -> None:
    # Same password under another stack's better-auth-secret: a checksum without that key tells nothing about it.
    elsewhere = read(changed(better_auth_secret=secrets.token_hex(32)))
    assert read(OnePassword()).checksum("postgres_password") != elsewhere.checksum("postgres_password")


def test_a_checksum_of_a_secret_that_the_stack_does_not_read_is_an_error() -> None:
    with pytest.raises(KeyError):
        read(OnePassword()).checksum("nothing")
