"""Which secret values are refused, and that no message ever contains one."""

from __future__ import annotations

import secrets

import pytest

from components.database_address import AUTHORITY
from lookups.database_url import url_complaint, url_warning
from settings.database import DatabaseSettings
from settings.parameters import ServerParameters
from tests.stacks import DEV
from tests.unit.account import (
    AUTH,
    PASSWORD,
    TOKEN,
    URL,
    OnePassword,
    app_item,
    changed,
    plain,
    read,
    refusal,
)


@pytest.mark.parametrize("name", ["postgres_password", "better_auth_secret", "database_url"])
@pytest.mark.parametrize("value", ["", "  ", "\n"])
def test_an_empty_value_is_refused(name: str, value: str) -> None:
    message = refusal(changed(**{name: value}))
    assert f"op://Kubernetes/Invoicetron Dev/{name.replace('_', '-')}\n" in message
    assert "empty" in message


@pytest.mark.parametrize("value", ["{}\n", " {}", "{}\t", "\r\n{}"])
@pytest.mark.parametrize("name", ["postgres_password", "better_auth_secret", "database_url"])
def test_white_space_at_either_end_is_refused(name: str, value: str) -> None:
    right = {"postgres_password": PASSWORD, "better_auth_secret": AUTH, "database_url": URL}[name]
    assert "begins or ends with a space or a line break" in refusal(changed(**{name: value.format(right)}))


@pytest.mark.parametrize("character", ["\0", "\n", "\r", "\t", "\x7f", "\u00a0", "\u200b", "\u2028", "\ufeff"])
def test_characters_that_cannot_be_seen_are_refused_inside_a_value(character: str) -> None:
    message = refusal(changed(better_auth_secret=f"{AUTH[:32]}{character}{AUTH[32:]}"))
    assert "op://Kubernetes/Invoicetron Dev/better-auth-secret\n" in message
    assert "an invisible character" in message


def test_a_space_inside_a_value_is_accepted() -> None:
    assert plain(read(changed(better_auth_secret=f"{AUTH[:32]} {AUTH[32:]}")).better_auth_secret)


def test_a_user_name_with_a_password_behind_a_colon_is_refused() -> None:
    account = OnePassword()
    account.items["Invoicetron Deploy Token"]["username"] = "gitlab+deploy-token-1:secret"
    assert "op://Kubernetes/Invoicetron Deploy Token/username\n" in refusal(account)


def test_registry_credentials_are_checked_too() -> None:
    account = OnePassword()
    account.items["Invoicetron Deploy Token"] = {"username": "", "password": f"{TOKEN} "}
    message = refusal(account)
    assert "op://Kubernetes/Invoicetron Deploy Token/username" in message
    assert "op://Kubernetes/Invoicetron Deploy Token/password" in message


@pytest.mark.parametrize("character", list("/@:%+ ?#&=$\"'\\é"))
def test_a_password_that_is_not_url_safe_is_refused(character: str) -> None:
    assert "not URL-safe" in refusal(changed(postgres_password=f"{PASSWORD}{character}x"))


def test_a_password_of_every_url_safe_character_is_accepted() -> None:
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
    ("query", "told"),
    [
        ("sslmode=require", "demands TLS, which this database does not have (sslmode)"),
        ("sslmode=verify-ca", "demands TLS"),
        ("sslmode=verify-full", "demands TLS"),
        ("sslmode=REQUIRE", "demands TLS"),
        ("sslmode=no-verify", "demands TLS"),
        ("sslmode=", "demands TLS"),
        ("%73slmode=require", "demands TLS"),
        ("sslmode=disable&sslmode=require", "sets sslmode twice"),
        ("schema=public&channel_binding=require", "demands TLS, which this database does not have (channel_binding)"),
        ("sslnegotiation=direct", "demands TLS"),
        ("gssencmode=require", "demands encryption by Kerberos"),
        ("target_session_attrs=standby", "demands a standby"),
        ("target_session_attrs=read-only", "demands a standby"),
        ("options=endpoint%3Dep-cool-1", "has parameters (options) other than"),
        ("sslrootcert=/etc/ca.pem", "has parameters (sslrootcert) other than"),
        ("SSLMODE=require", "has parameters (one that is not shown) other than"),
        ("schema=public;sslmode=require", "has a parameter that does not work (schema)"),
        ("connection_limit=0", "has a connection_limit outside 1 to 99"),
        ("connection_limit=500", "has a connection_limit outside 1 to 99"),
        ("connection_limit=many", "has a connection_limit outside 1 to 99"),
        ("connect_timeout=-1", "has a parameter that does not work (connect_timeout)"),
        ("socket_timeout=0", "has a parameter that does not work (socket_timeout)"),
        ("pgbouncer=yes", "has a parameter that does not work (pgbouncer)"),
        ("schema", "has a parameter that does not work (schema)"),
        ("schema=public#fragment", "does not parse"),
    ],
)
def test_a_database_url_that_the_database_cannot_serve_is_refused(query: str, told: str) -> None:
    message = refusal(changed(database_url=f"{URL}?{query}"))
    assert "op://Kubernetes/Invoicetron Dev/database-url\n" in message
    assert told in message


@pytest.mark.parametrize(("most", "fits", "too_many"), [(20, "19", "20"), (20, "19", "50"), (500, "499", "500")])
def test_a_database_url_asks_for_fewer_connections_than_the_server_has(most: int, fits: str, too_many: str) -> None:
    database = DatabaseSettings(parameters=ServerParameters(max_connections=most))
    assert url_complaint(f"{URL}?connection_limit={fits}", PASSWORD, DEV, database) is None
    complaint = url_complaint(f"{URL}?connection_limit={too_many}", PASSWORD, DEV, database)
    assert complaint
    assert f"outside 1 to {most - 1}: everybody shares this database's {most} connections" in complaint[0]


STRICT = "sslaccept=strict"


@pytest.mark.parametrize(
    ("database", "query", "told"),
    [
        (DatabaseSettings(engine="cloudnative-pg"), STRICT, "demands verification of the server's certificate"),
        (DatabaseSettings(engine="cloudnative-pg"), "sslaccept=accept_invalid_certs", None),
        (DatabaseSettings(tls="offered"), STRICT, f"does not say with sslcert={AUTHORITY} who signed"),
        (
            DatabaseSettings(tls="offered"),
            f"sslmode=prefer&sslrootcert={AUTHORITY}&{STRICT}",
            "does not say with sslcert",
        ),
        (DatabaseSettings(tls="required"), f"sslmode=require&sslcert={AUTHORITY}&{STRICT}", None),
        (DatabaseSettings(tls="offered"), f"sslmode=disable&{STRICT}", None),
        (DatabaseSettings(), STRICT, None),
    ],
)
def test_prisma_verifies_a_certificate_only_with_the_authority(
    database: DatabaseSettings, query: str, told: str | None
) -> None:
    host = "invoicetron-db-rw" if database.is_cluster else "invoicetron-db"
    complaint = url_complaint(f"{URL.replace('invoicetron-db', host)}?{query}", PASSWORD, DEV, database)
    assert (complaint is None) is (told is None)
    assert (told or "") in (complaint or [""])[0]


@pytest.mark.parametrize(
    ("database", "query", "warned"),
    [
        (DatabaseSettings(), "sslmode=prefer", "which has no TLS; remove sslmode"),
        (DatabaseSettings(), "sslmode=allow", "which has no TLS; remove sslmode"),
        (DatabaseSettings(), "sslmode=disable", None),
        (DatabaseSettings(), "schema=public", None),
        (DatabaseSettings(engine="cloudnative-pg"), "sslmode=require", "cannot verify; remove sslmode"),
        (DatabaseSettings(tls="offered"), "sslmode=prefer", f"cannot verify; add sslrootcert={AUTHORITY}"),
        (DatabaseSettings(tls="offered"), f"sslmode=prefer&sslrootcert={AUTHORITY}", None),
        (DatabaseSettings(tls="offered"), "", None),
    ],
)
def test_a_mode_that_node_postgres_takes_for_verify_full_is_warned_about(
    database: DatabaseSettings, query: str, warned: str | None
) -> None:
    warning = url_warning(f"{URL}?{query}", database)
    assert (warning is None) is (warned is None)
    assert (warned or "") in (warning or "")


def test_a_warning_about_the_url_names_its_reference_and_none_of_its_values(caplog: pytest.LogCaptureFixture) -> None:
    url = f"{URL}?sslmode=prefer"
    assert plain(read(changed(database_url=url)).database_url) == url
    assert "op://Kubernetes/Invoicetron Dev/database-url: node-postgres" in caplog.text
    assert PASSWORD not in caplog.text


def test_nothing_of_an_unknown_parameter_is_shown() -> None:
    assert "half-a-word" not in refusal(changed(database_url=f"{URL}?half-a-word=other-half"))


@pytest.mark.parametrize(
    "url",
    [
        URL.replace("postgresql:", "POSTGRESQL:"),
        URL.replace(":5432", ":0"),
        URL.replace(":5432", ":99999"),
        URL.replace("@invoicetron-db", "@invoicetron-db,other"),
    ],
)
def test_a_database_url_that_clients_read_differently_is_refused(url: str) -> None:
    assert "op://Kubernetes/Invoicetron Dev/database-url\n" in refusal(changed(database_url=url))


@pytest.mark.parametrize(
    "url",
    [
        *(f"{URL}?sslmode={mode}" for mode in ("disable", "allow", "prefer")),
        f"{URL}?schema=public&connection_limit=99&pool_timeout=0&connect_timeout=30&pgbouncer=true",
        f"{URL}?target_session_attrs=read-write&channel_binding=prefer&application_name=invoicetron%20app",
        f"{URL}?",
        URL.replace("postgresql:", "postgres:"),
        URL.replace(":5432", ""),
        f"{URL}?schema=public&connection_limit=5",
        URL.replace("@invoicetron-db", "@invoicetron-db.invoicetron-dev.svc.cluster.local"),
    ],
)
def test_a_database_url_may_be_written_in_equivalent_ways(url: str) -> None:
    assert plain(read(changed(database_url=url)).database_url) == url


def test_a_database_url_is_derived_if_the_item_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    account = OnePassword()
    account.items["Invoicetron Dev"] = app_item(postgres_password=PASSWORD, better_auth_secret=AUTH)
    assert plain(read(account).database_url) == URL
    assert PASSWORD not in "".join(capsys.readouterr())


def test_a_database_url_is_derived_if_the_stack_file_names_none() -> None:
    assert plain(read(OnePassword(), databaseUrl=None).database_url) == URL


def test_all_problems_of_one_value_are_reported_together() -> None:
    message = refusal(changed(postgres_password=f"{PASSWORD}/{PASSWORD} "))
    assert "begins or ends with a space" in message
    assert "not URL-safe" in message
