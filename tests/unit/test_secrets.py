"""Secrets: what is read from 1Password, what is refused, and that no message ever carries a value."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_onepassword as onepassword
import pytest

from components.secrets import SecretsError, StackSecrets, read_secrets
from settings import Settings

VAULT = "aaaaaaaaaaaaaaaaaaaaaaaaaa"
# The same in every process: some are part of a test's name, by which pytest's workers know it.
PASSWORD = hashlib.sha256(b"postgres-password").hexdigest()[:40]
AUTH = hashlib.sha256(b"better-auth-secret").hexdigest()
URL = f"postgresql://invoicetron:{PASSWORD}@invoicetron-db:5432/invoicetron"
TOKEN = f"gldt-{secrets.token_hex(8)}"


def section(identity: str, label: str, **fields: str) -> dict[str, Any]:
    """A section as the plugin returns it; field names are written with '_' for '-'."""
    return {
        "id": identity,
        "label": label,
        "fields": [
            {
                "id": secrets.token_hex(13),
                "label": name.replace("_", "-"),
                "purpose": "",
                "type": "CONCEALED",
                "value": value,
            }
            for name, value in fields.items()
        ],
    }


def app_item(**fields: str) -> dict[str, Any]:
    """The item of the stack dev, its fields in the unnamed section, as the 1Password apps write it."""
    return {"sections": [section("add more", "", **fields)]}


@dataclass
class OnePassword(pulumi.runtime.Mocks):
    """Answers as the plugin does: `items` by title or UUID; a list stands for several items of one title."""

    items: dict[str, Any] = field(
        default_factory=lambda: {
            "Invoicetron Dev": app_item(postgres_password=PASSWORD, better_auth_secret=AUTH, database_url=URL),
            "Invoicetron Deploy Token": {"username": "gitlab+deploy-token-1", "password": TOKEN},
        }
    )
    vaults: dict[str, int] = field(default_factory=lambda: {"Kubernetes": 1})
    asked: Counter[str] = field(default_factory=Counter)
    resources: list[str] = field(default_factory=list)
    broken: str = ""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.resources.append(args.typ)
        return args.name, args.inputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> Any:
        if self.broken:
            return {}, [("", self.broken)]
        key = args.args.get("name") or args.args.get("title") or args.args["uuid"]
        assert ("uuid" in args.args) == (len(key) == 26)
        self.asked[key] += 1
        if args.token.endswith("getVault"):
            return self._vault(key)
        assert args.args["vault"] == VAULT
        found = self.items.get(key, [])
        found = found if isinstance(found, list) else [found]
        if len(found) != 1:
            reason = f'Unable to read item, got error: Found {len(found)} item(s) in vault "{VAULT}" with title "{key}"'
            return {}, [("", reason)]
        return {"id": f"vaults/{VAULT}/items/x", "uuid": "x", "title": key, "vault": VAULT, **found[0]}

    def _vault(self, name: str) -> Any:
        count = 1 if name == VAULT else self.vaults.get(name, 0)
        if count == 1:
            return {"id": f"vaults/{VAULT}", "uuid": VAULT, "name": name, "description": ""}
        words = "Multiple vaults found with name" if count else "No vault found with name"
        return {}, [("", f'{words} "{name}"')]


CONFIG: dict[str, Any] = {
    "namespace": "invoicetron-dev",
    "secrets": {
        "postgresPassword": "op://Kubernetes/Invoicetron Dev/postgres-password",
        "betterAuthSecret": "op://Kubernetes/Invoicetron Dev/better-auth-secret",
        "databaseUrl": "op://Kubernetes/Invoicetron Dev/database-url",
    },
    "registry": {"server": "registry.example.com", "item": "op://Kubernetes/Invoicetron Deploy Token"},
    "app": {"image": "registry.example.com/invoicetron:placeholder"},
    "access": {"hostname": "invoicetron.example.com", "gateway": {"listener": "https-dev"}},
}


def read(account: OnePassword, **changes: Any) -> StackSecrets:
    """Reads the secrets of a stack whose file differs from CONFIG by `changes` of the section `secrets`."""
    pulumi.runtime.set_mocks(account, project="invoicetron", stack="dev")
    settings = Settings.load("dev", {**CONFIG, "secrets": {**CONFIG["secrets"], **changes}})
    return read_secrets(settings, onepassword.Provider("onepassword"))


def refusal(account: OnePassword, **changes: Any) -> str:
    """The message with which reading fails; it carries no value that the account holds."""
    with pytest.raises(SecretsError) as error:
        read(account, **changes)
    message = str(error.value)
    for value in values_of(account):
        assert value.strip() not in message
    assert account.resources in ([], ["pulumi:providers:onepassword"])
    return message


def values_of(account: OnePassword) -> list[str]:
    """Every value of a field that somebody could mistake for nothing else; short ones occur in any text."""
    items = [item for found in account.items.values() for item in (found if isinstance(found, list) else [found])]
    fields = [one["value"] for item in items for part in item.get("sections", []) for one in part["fields"]]
    return [value for value in [*fields, *(item.get("password", "") for item in items)] if len(value.strip()) > 3]


def plain(output: pulumi.Output[str] | None) -> str:
    """The value of an output that must be secret."""
    assert output is not None

    async def resolve() -> str:
        assert await output.is_secret()
        value = await output.future()
        assert value is not None
        return value

    return asyncio.get_event_loop().run_until_complete(resolve())


def changed(**fields: str) -> OnePassword:
    """An account whose item of the stack has these values instead."""
    account = OnePassword()
    values = {"postgres_password": PASSWORD, "better_auth_secret": AUTH, "database_url": URL} | fields
    account.items["Invoicetron Dev"] = app_item(**values)
    return account


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


@pytest.mark.parametrize("name", ["postgres_password", "better_auth_secret", "database_url"])
@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_an_empty_value_is_refused(name: str, value: str) -> None:
    message = refusal(changed(**{name: value}))
    assert f"op://Kubernetes/Invoicetron Dev/{name.replace('_', '-')}\n" in message
    assert "empty" in message


@pytest.mark.parametrize("value", ["{}\n", " {}", "{}\t", "\r\n{}"])
@pytest.mark.parametrize("name", ["postgres_password", "better_auth_secret", "database_url"])
def test_white_space_at_the_ends_is_refused(name: str, value: str) -> None:
    right = {"postgres_password": PASSWORD, "better_auth_secret": AUTH, "database_url": URL}[name]
    assert "begins or ends with a space or a line break" in refusal(changed(**{name: value.format(right)}))


def test_registry_credentials_are_checked_too() -> None:
    account = OnePassword()
    account.items["Invoicetron Deploy Token"] = {"username": "", "password": f"{TOKEN} "}
    message = refusal(account)
    assert "op://Kubernetes/Invoicetron Deploy Token/username" in message
    assert "op://Kubernetes/Invoicetron Deploy Token/password" in message


@pytest.mark.parametrize("character", list("/@:%+ ?#&=$\"'\\é"))
def test_a_password_that_is_not_url_safe_is_refused(character: str) -> None:
    assert "not URL-safe" in refusal(changed(postgres_password=f"{PASSWORD}{character}x"))


def test_a_password_of_every_url_safe_character_is_taken() -> None:
    password = "AZaz09-._~"
    assert plain(
        read(changed(postgres_password=password, database_url=URL.replace(PASSWORD, password))).postgres_password
    )


@pytest.mark.parametrize(("length", "refused"), [(31, True), (32, False)])
def test_better_auth_secret_has_at_least_32_characters(length: int, refused: bool) -> None:
    account = changed(better_auth_secret=secrets.token_hex(32)[:length])
    if refused:
        assert "shorter than 32 characters" in refusal(account)
    else:
        read(account)


@pytest.mark.parametrize(
    "url",
    [
        PASSWORD,
        f"mysql://invoicetron:{PASSWORD}@invoicetron-db:5432/invoicetron",
        f"postgresql:invoicetron:{PASSWORD}@invoicetron-db",
        f"postgresql://invoicetron:{PASSWORD}@invoicetron-db:port/invoicetron",
        f"postgresql://invoicetron:{PASSWORD}@[invoicetron-db:5432/invoicetron",
        f"postgresql://invoicetron:{PASSWORD}\n@invoicetron-db:5432/invoicetron",
    ],
)
def test_a_database_url_that_does_not_parse_is_refused(url: str) -> None:
    assert "does not parse" in refusal(changed(database_url=url))


@pytest.mark.parametrize(
    ("url", "part"),
    [
        (URL.replace("//invoicetron:", "//postgres:"), "user"),
        (URL.replace("@invoicetron-db", "@localhost"), "host"),
        (URL.replace("@invoicetron-db", "@invoicetron-db.invoicetron-prod.svc"), "host"),
        (URL.replace(":5432", ":5433"), "port"),
        (URL.removesuffix("invoicetron") + "postgres", "database"),
        (URL.replace(PASSWORD, PASSWORD[:-1]), "password"),
        (URL.replace(f":{PASSWORD}", ""), "password"),
        (f"{URL}?host=elsewhere", "query"),
    ],
)
def test_a_database_url_that_names_something_else_is_refused(url: str, part: str) -> None:
    message = refusal(changed(database_url=url))
    assert f"the URL names another {'target in its query' if part == 'query' else part}" in message
    assert "postgresql://invoicetron:<postgres-password>@invoicetron-db:5432/invoicetron" in message


@pytest.mark.parametrize(
    "url",
    [
        URL.replace("postgresql:", "postgres:"),
        URL.replace(":5432", ""),
        f"{URL}?schema=public&connection_limit=5",
        URL.replace("@invoicetron-db", "@invoicetron-db.invoicetron-dev.svc.cluster.local"),
    ],
)
def test_a_database_url_may_be_written_in_other_ways_that_mean_the_same(url: str) -> None:
    assert plain(read(changed(database_url=url)).database_url) == url


def test_a_database_url_is_derived_where_the_item_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"] = app_item(postgres_password=PASSWORD, better_auth_secret=AUTH)
    assert plain(read(account).database_url) == URL
    assert PASSWORD not in "".join(capsys.readouterr())


def test_a_database_url_is_derived_where_the_stack_file_names_none() -> None:
    assert plain(read(OnePassword(), databaseUrl=None).database_url) == URL


def test_all_problems_are_told_together() -> None:
    account = changed(
        postgres_password=f" {PASSWORD}", better_auth_secret=AUTH[:20], database_url=URL.replace(":5432", ":1")
    )
    account.items["Invoicetron Deploy Token"] = []
    message = refusal(account)
    assert "(4 problems)" in message
    assert message.count("fix:") == 4


def test_all_problems_of_one_value_are_told_together() -> None:
    message = refusal(changed(postgres_password=f"{PASSWORD}/{PASSWORD} "))
    assert "begins or ends with a space" in message
    assert "not URL-safe" in message


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
