"""Secrets: what is read from 1Password, what is refused, and that no message ever contains a value."""

from __future__ import annotations

import datetime as dt
import secrets
from typing import Any, cast

import pulumi
import pulumi_onepassword as onepassword
import pytest

from lookups.secrets import SecretsError, StackSecrets, read_secrets
from settings import Settings
from settings.section import today
from tests.stacks import DEV
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


def test_the_item_s_own_field_is_used_even_if_a_section_has_one_with_that_label() -> None:
    account = OnePassword()
    account.items["Invoicetron Deploy Token"]["sections"] = [section("s", "Web login", password="of-the-web-page")]
    assert plain(read(account).registry_password) == TOKEN


def test_a_field_of_a_section_stands_in_for_the_item_s_own_that_was_left_empty() -> None:
    account = OnePassword()
    item = account.items["Invoicetron Deploy Token"]
    item |= {"password": "", "sections": [section("s", "registry", password=TOKEN)]}
    assert plain(read(account).registry_password) == TOKEN


def test_the_address_of_a_login_page_is_not_a_field() -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"] = {
        "url": "https://example.com",
        **app_item(postgres_password=PASSWORD, better_auth_secret=AUTH, url=URL),
    }
    assert plain(read(account, databaseUrl="op://Kubernetes/Invoicetron Dev/url").database_url) == URL


@pytest.mark.parametrize(
    ("label", "output"), [("password", "password"), ("credential", "credential"), ("Server", "hostname")]
)
def test_well_known_fields_are_found_outside_the_sections(label: str, output: str) -> None:
    account = OnePassword()
    account.items["Login"] = {output: PASSWORD}
    assert plain(read(account, postgresPassword=f"op://Kubernetes/Login/{label}").postgres_password) == PASSWORD


def test_a_missing_vault_is_reported_once_with_its_name() -> None:
    message = refusal(OnePassword(vaults={}))
    assert "(1 problem)" in message
    assert "the vault 'Kubernetes'" in message
    assert "no such vault" in message


def test_two_vaults_with_one_name_are_refused() -> None:
    assert "several vaults have this name" in refusal(OnePassword(vaults={"Kubernetes": 2}))


def test_a_missing_item_is_reported_once_however_many_of_its_fields_are_needed() -> None:
    account = OnePassword()
    del account.items["Invoicetron Dev"]
    message = refusal(account)
    assert "op://Kubernetes/Invoicetron Dev\n" in message
    assert "no such item" in message
    assert "(1 problem)" in message


def test_two_items_with_one_title_are_refused() -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"] = [account.items["Invoicetron Dev"]] * 2
    assert "several items have this title" in refusal(account)


def test_a_missing_field_is_reported_with_the_existing_ones() -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"] = app_item(postgres_passwort=PASSWORD, better_auth_secret=AUTH)
    message = refusal(account)
    assert "no field 'postgres-password'" in message
    assert "better-auth-secret, postgres-passwort" in message


def test_a_missing_section_is_reported() -> None:
    message = refusal(OnePassword(), postgresPassword="op://Kubernetes/Invoicetron Dev/prod/postgres-password")
    assert "no section 'prod'" in message


def test_a_field_in_two_sections_is_refused_with_both() -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"]["sections"].append(section("s", "old", postgres_password=PASSWORD))
    message = refusal(account)
    assert "2 fields 'postgres-password'" in message
    assert "'add more'" in message
    assert "'old'" in message


def two_sections(*, label: str = "Database") -> OnePassword:
    """An account whose item holds postgres-password twice, the second time in a section of that label."""
    account = OnePassword()
    account.items["Invoicetron Dev"] = {
        "sections": [
            section("section-one", "Database", postgres_password=PASSWORD),
            section("section-two", label, postgres_password=PASSWORD[::-1]),
            section("section-three", "App", better_auth_secret=AUTH, database_url=URL),
        ]
    }
    return account


@pytest.mark.parametrize("label", ["Database", "database"])
@pytest.mark.parametrize("reference", ["postgres-password", "Database/postgres-password"])
def test_sections_that_their_labels_do_not_distinguish_are_listed_by_id(label: str, reference: str) -> None:
    account = two_sections(label=label)
    message = refusal(account, postgresPassword=f"op://Kubernetes/Invoicetron Dev/{reference}")
    for identity in ("section-one", "section-two"):
        chosen = f"op://Kubernetes/Invoicetron Dev/{identity}/postgres-password"
        assert chosen in message
        assert f"(id {identity})" in message
    chosen = "op://Kubernetes/Invoicetron Dev/section-one/postgres-password"
    assert plain(read(account, postgresPassword=chosen).postgres_password) == PASSWORD


def test_the_remedy_names_sections_by_label_if_the_labels_differ() -> None:
    message = refusal(two_sections(label="Old"))
    assert "op://Kubernetes/Invoicetron Dev/Database/postgres-password or " in message
    assert "op://Kubernetes/Invoicetron Dev/Old/postgres-password" in message


def test_two_fields_with_one_label_in_one_section_are_listed_by_id() -> None:
    account = OnePassword()
    fields = account.items["Invoicetron Dev"]["sections"][0]["fields"]
    fields.append({**fields[0], "id": "another", "value": PASSWORD[::-1]})
    message = refusal(account)
    for one in (fields[0], fields[-1]):
        chosen = f"op://Kubernetes/Invoicetron Dev/add more/{one['id']}"
        assert chosen in message
        assert plain(read(account, postgresPassword=chosen, databaseUrl=None).postgres_password) == one["value"]


def test_a_label_is_found_however_its_accents_are_encoded() -> None:
    composed, decomposed = "gr\u00f6\u00dfe", "gro\u0308\u00dfe"
    account = OnePassword()
    account.items["Sizes"] = {"sections": [section("s", decomposed, **{decomposed: PASSWORD})]}
    for written in (composed, decomposed):
        reference = f"op://Kubernetes/Sizes/{written}/{written}"
        assert plain(read(account, postgresPassword=reference).postgres_password) == PASSWORD


@pytest.mark.parametrize("label", ["postgres\u00a0password", "postgres \u200bpassword", "postgres password\u00a0"])
def test_invisible_characters_in_a_label_are_shown(label: str) -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"]["sections"].append(section("s", "more", **{label: PASSWORD}))
    message = refusal(account, postgresPassword="op://Kubernetes/Invoicetron Dev/postgres password")
    assert repr(label) in message
    assert "cannot be seen" in message


def test_a_missing_section_is_reported_with_the_existing_ones() -> None:
    message = refusal(two_sections(), postgresPassword="op://Kubernetes/Invoicetron Dev/Databse/postgres-password")
    assert "no section 'Databse' with a field in it; its sections are: App, Database" in message


@pytest.mark.parametrize("kind", ["OTP", "DATE", "MONTH_YEAR", "FILE", "REFERENCE"])
def test_a_field_that_holds_no_text_is_refused(kind: str) -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"]["sections"][0]["fields"][0]["type"] = kind
    message = refusal(account)
    assert "op://Kubernetes/Invoicetron Dev/postgres-password\n" in message
    assert "name a field of the type password or text" in message


def test_the_reference_may_choose_between_two_sections() -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"]["sections"].append(section("s", "old", postgres_password="before"))
    chosen = "op://Kubernetes/Invoicetron Dev/add more/postgres-password"
    assert plain(read(account, postgresPassword=chosen).postgres_password) == PASSWORD


def test_all_problems_are_reported_together() -> None:
    account = changed(
        postgres_password=f" {PASSWORD}", better_auth_secret=AUTH[:20], database_url=URL.replace(":5432", ":1")
    )
    account.items["Invoicetron Deploy Token"] = []
    message = refusal(account)
    assert "(4 problems)" in message
    assert message.count("fix:") == 4


def test_an_unreachable_server_is_reported_in_its_own_words() -> None:
    message = refusal(OnePassword(broken="dial tcp 127.0.0.1:1: connect: connection refused"))
    assert "connection refused" in message
    assert "OP_CONNECT_HOST" in message


def issuing(account: OnePassword, **changes: Any) -> StackSecrets:
    """Reads the secrets of a stack that issues its deploy token itself."""
    pulumi.runtime.set_mocks(account, project="invoicetron", stack="dev")
    delivery = {
        "project": "0xwsh/invoicetron",
        "branch": "develop",
        "environment": {"name": "development", "tier": "development"},
        "pullCredentials": {"issue": True, "expires": "2099-12-31"},
    }
    settings = Settings.load(DEV, {**CONFIG, "delivery": delivery, **changes})
    return read_secrets(settings, onepassword.Provider("onepassword"))


def test_credentials_that_the_program_issues_itself_are_not_read() -> None:
    account = OnePassword()
    del account.items["Invoicetron Deploy Token"]
    found = issuing(account)
    assert found.registry_username is None
    assert found.registry_password is None


UUID = "b" * 26


@pytest.mark.parametrize("item", ["Invoicetron Dev", UUID])
def test_a_token_is_written_to_no_item_that_holds_a_secret_of_the_stack(item: str) -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"]["uuid"] = UUID
    account.items[UUID] = account.items["Invoicetron Dev"]
    registry = {**CONFIG["registry"], "item": f"op://Kubernetes/{item}"}
    with pytest.raises(SecretsError) as refused:
        issuing(account, registry=registry)
    message = str(refused.value)
    assert f"op://Kubernetes/{item}\n" in message
    assert "it is also that of op://Kubernetes/Invoicetron Dev/postgres-password" in message
    assert "name another item in registry.item" in message


def test_two_tokens_are_not_written_to_one_item_however_it_is_named() -> None:
    account = OnePassword()
    account.items["Invoicetron Deploy Token"]["uuid"] = UUID
    account.items[UUID] = account.items["Invoicetron Deploy Token"]
    public = {
        "zone": "example.org",
        "hostname": "a.example.org",
        "tunnel": "homelab",
        "policyName": "Allow Admin",
        "serviceToken": {"item": f"op://Kubernetes/{UUID}", "expires": f"{today() + dt.timedelta(days=30)}"},
    }
    with pytest.raises(SecretsError, match=r"it is also that of registry\.item"):
        issuing(account, access={**CONFIG["access"], "public": public})


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"category": "api_credential"}, "the item is of the category api_credential, and not a login"),
        ({"sections": [section("a", "", restic="hush-hush")]}, "the item holds other secrets: 'restic'"),
    ],
)
def test_a_token_is_written_to_a_login_only(item: dict[str, Any], words: str) -> None:
    account = OnePassword()
    account.items["Invoicetron Deploy Token"] |= item
    with pytest.raises(SecretsError) as refused:
        issuing(account)
    assert words in str(refused.value)
    assert "name a new title in registry.item" in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_secret_that_a_user_adds_to_the_item_of_a_token_does_not_stop_the_stack() -> None:
    account = OnePassword()
    marks = section("a", "issued by pulumi", **{"deploy token": "invoicetron-pull-dev", "stack": "invoicetron/dev"})
    account.items["Invoicetron Deploy Token"]["sections"] = [marks, section("b", "", restic="hush-hush")]
    assert issuing(account).registry_item is not None


def test_an_item_that_the_stack_itself_writes_its_token_to_is_not_read_when_it_no_longer_issues_one() -> None:
    account = OnePassword()
    item = account.items["Invoicetron Deploy Token"]
    item["sections"] = [section("a", "issued by pulumi", **{"deploy token": "invoicetron-pull-dev"})]
    message = refusal(account)
    assert "op://Kubernetes/Invoicetron Deploy Token\n" in message
    assert "the stack issued the token in this item" in message
    assert "name another item in registry.item" in message
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


def test_the_secrets_that_the_stack_file_adds_reach_the_app_and_its_checksum_only() -> None:
    one, other = (
        read(changed(stripe_key=value), app={"STRIPE_KEY": "op://Kubernetes/Invoicetron Dev/stripe-key"})
        for value in ("one-key", "other-key")
    )
    assert plain(cast("pulumi.Output[str]", one.of_app.values["STRIPE_KEY"])) == "one-key"
    assert "one-key" not in repr(one)
    assert one.of_app.checksum != other.of_app.checksum
    assert one.checksum("postgres_password") == other.checksum("postgres_password")


def test_without_added_secrets_the_checksum_is_that_of_a_stack_file_that_has_none() -> None:
    found = read(OnePassword())
    assert found.of_app.checksum == found.checksum("database_url", "better_auth_secret")


def test_the_problems_of_added_secrets_are_reported_with_the_others() -> None:
    item = "op://Kubernetes/Invoicetron Dev"
    account = changed(better_auth_secret="", empty="", lines="the first line\nthe second line", nul="before\0after")
    message = refusal(account, app={name.upper(): f"{item}/{name}" for name in ("empty", "lines", "nul", "absent")})
    assert "(5 problems)" in message
    for name in ("better-auth-secret", "empty", "lines", "nul", "absent"):
        assert f"{item}/{name}\n" in message


def test_a_checksum_is_keyed_so_that_guesses_cannot_be_tried() -> None:
    # The same password with another stack's better-auth-secret: without that key, a checksum reveals nothing about it.
    elsewhere = read(changed(better_auth_secret=secrets.token_hex(32)))
    assert read(OnePassword()).checksum("postgres_password") != elsewhere.checksum("postgres_password")


def test_a_checksum_of_a_secret_that_the_stack_does_not_read_is_an_error() -> None:
    with pytest.raises(KeyError):
        read(OnePassword()).checksum("nothing")
