"""What a stack file may say about the app."""

from __future__ import annotations

import pytest

from tests.unit.stack_files import refusal, refusal_of, with_value

REFERENCE = "op://Kubernetes/Invoicetron Prod/stripe-key"
VALUE = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
PLAIN = "hunter2-hunter2"


@pytest.mark.parametrize(("section", "value"), [("environment", "test"), ("secrets", REFERENCE)])
def test_variables_that_the_program_sets_itself_are_refused_all_at_once(section: str, value: str) -> None:
    config = with_value("prod", f"app.{section}", {"NODE_ENV": value, "DATABASE_URL": value, "OTHER": value})
    message = refusal("prod", config)
    assert "2 mistakes" in message
    for name in ("NODE_ENV", "DATABASE_URL"):
        assert f"invoicetron:app.{section}.{name}\n" in message
    assert "the program sets these itself" in message


@pytest.mark.parametrize("name", ["1ST", "LOG-LEVEL", "A=B", ""])
@pytest.mark.parametrize(("section", "value"), [("environment", "x"), ("secrets", REFERENCE)])
def test_a_name_that_no_environment_variable_has_is_refused(section: str, value: str, name: str) -> None:
    assert "the name of an environment variable" in refusal_of(f"app.{section}", {name: value})


def test_a_secret_in_place_of_its_reference_is_refused_and_never_shown() -> None:
    message = refusal_of("app.secrets", {"STRIPE_KEY": VALUE})
    assert "invoicetron:app.secrets.STRIPE_KEY" in message
    assert "op://vault/item/field" in message
    assert VALUE not in message


def test_a_reference_among_the_plain_variables_is_refused_since_nothing_looks_it_up() -> None:
    message = refusal_of("app.environment", {"STRIPE_KEY": REFERENCE})
    assert "invoicetron:app.environment.STRIPE_KEY" in message
    assert "name its reference in app.secrets" in message


@pytest.mark.parametrize("name", ["API_TOKEN", "SMTP_PASSWORD", "STRIPE_API_KEY"])
def test_a_plain_variable_that_is_called_a_secret_is_refused_before_the_policies_do(name: str) -> None:
    message = refusal_of("app.environment", {name: PLAIN})
    assert f"invoicetron:app.environment.{name}\n" in message
    assert "name its reference in app.secrets" in message
    assert PLAIN not in message


@pytest.mark.parametrize("value", ["smtp://user:pa55word@mail.example.com", "glpat-0123456789abcdefghij"])
def test_a_plain_variable_that_holds_a_secret_is_refused_and_never_shown(value: str) -> None:
    message = refusal_of("app.environment", {"LINK": value})
    assert "name its reference in app.secrets" in message
    assert value not in message


def test_a_variable_is_plain_or_secret_and_not_both() -> None:
    config = with_value("prod", "app.environment", {"A": "1", "B": "2", "C": "3"})
    config["app"]["secrets"] = {"A": REFERENCE, "C": REFERENCE}
    message = refusal("prod", config)
    assert "invoicetron:app.secrets\n      given:   A, C" in message
    assert "variables that app.environment does not have" in message


@pytest.mark.parametrize(
    ("value", "allowed"), [("a\0b", "text without NUL"), (3, "a text, in quotes"), (True, "a text, in quotes")]
)
def test_the_value_of_a_variable_is_text(value: object, allowed: str) -> None:
    message = refusal_of("app.environment", {"LIMIT": value})
    assert "invoicetron:app.environment.LIMIT" in message
    assert f"allowed: {allowed}" in message


@pytest.mark.parametrize("port", [0, 80, 1023, 65536, "3000"])
def test_the_port_is_one_that_a_user_may_listen_on(port: object) -> None:
    message = refusal_of("app.port", port)
    assert "from 1024 to 65535" in message or "integer" in message


@pytest.mark.parametrize("user", [0, -1, 2**31])
def test_the_app_never_runs_as_root(user: int) -> None:
    assert "a user id from 1 to 2147483647" in refusal_of("app.user", user)


@pytest.mark.parametrize("path", ["", "health", "https://example.com/health", "/health?full=1", "/a b", "/health#x"])
def test_the_health_check_is_a_path(path: str) -> None:
    assert "a path that begins with '/'" in refusal_of("app.healthPath", path)


@pytest.mark.parametrize("command", [[], [""], [" ", "migrate"], ["migrate", "a\0b"]])
def test_a_migration_has_a_command(command: list[str]) -> None:
    assert "a list of words that begins with the program" in refusal_of("app.migration.command", command)


def test_a_command_in_one_text_is_refused_as_no_shell_splits_it() -> None:
    assert "allowed: a list" in refusal_of("app.migration.command", "bunx prisma migrate deploy")
