"""1Password without an engine: the fields that the plugin returns are found, and refusals use its words."""

from __future__ import annotations

import json
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp

from lookups.onepassword import SecretProblemError, Vaults
from lookups.onepassword_client import AccountError, Client, CommandClient, UnavailableError, client
from lookups.onepassword_item import item_of
from rehearsal.vendors.onepassword import OnePassword
from settings.references import SecretReference

PASSWORD = secrets.token_hex(20)
TITLE = "Invoicetron Dev"
VAULT, ITEM = "v" * 26, "i" * 26

OP = """#!/bin/sh
echo "$@" >>{log}
case "$1 $2 $3" in
  "vault get Kubernetes" | "vault get {vault}") cat {folder}/vault.json ;;
  "item list --vault={vault}") echo '[{{"id": "{item}", "title": "Invoicetron Dev"}}]' ;;
  "item get Invoicetron Dev") cat {folder}/item.json ;;
  "vault get "*) echo "[ERROR] 2026/01/01 00:00:00 \\"$3\\" isn't a vault in this account." >&2; exit 1 ;;
  *) echo "[ERROR] 2026/01/01 00:00:00 \\"$3\\" isn't an item in the \\"Kubernetes\\" vault." >&2; exit 1 ;;
esac
"""


def reference(text: str) -> SecretReference:
    return SecretReference.parse(text)


@pytest.fixture
def connect(served: Callable[[ASGIApp], str]) -> Client:
    """A Connect server with the item under test."""
    server = OnePassword()
    server.add_vault("Kubernetes")
    server.put(TITLE, {"postgres-password": PASSWORD}, username="user", password="secret")
    return client({"OP_CONNECT_HOST": served(server.app), "OP_CONNECT_TOKEN": server.token})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "arguments"


@pytest.fixture
def command(tmp_path: Path, log: Path) -> Client:
    """An `op` that answers like the real one, and logs how it was called."""
    (tmp_path / "vault.json").write_text(json.dumps({"id": VAULT, "name": "Kubernetes"}))
    fields = [
        {"id": "username", "type": "STRING", "purpose": "USERNAME", "label": "username", "value": "user"},
        {"id": "password", "type": "CONCEALED", "purpose": "PASSWORD", "label": "password", "value": "secret"},
        {"id": "a", "section": {"id": "add more"}, "label": "postgres-password", "value": PASSWORD},
    ]
    body = {"id": ITEM, "title": TITLE, "category": "LOGIN", "sections": [{"id": "add more"}], "fields": fields}
    (tmp_path / "item.json").write_text(json.dumps(body))
    op = tmp_path / "op"
    op.write_text(OP.format(log=log, vault=VAULT, item=ITEM, folder=tmp_path))
    op.chmod(op.stat().st_mode | stat.S_IXUSR)
    return client({"OP_SERVICE_ACCOUNT_TOKEN": "ops_token", "OP_CLI_PATH": str(op), "PATH": "/usr/bin:/bin"})


@pytest.fixture(params=["connect", "command"])
def vaults(request: pytest.FixtureRequest) -> Vaults:
    return Vaults(request.getfixturevalue(request.param))


def test_fields_of_sections_and_built_in_ones_are_found(vaults: Vaults) -> None:
    assert vaults.read(reference(f"op://Kubernetes/{TITLE}/postgres-password")) == PASSWORD
    assert vaults.read(reference(f"op://Kubernetes/{TITLE}/username")) == "user"
    assert vaults.read(reference(f"op://Kubernetes/{TITLE}/password")) == "secret"


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        (f"op://Elsewhere/{TITLE}/postgres-password", "there is no such vault"),
        ("op://Kubernetes/Nothing/postgres-password", "the vault has no such item"),
        (f"op://Kubernetes/{TITLE}/database-url", "the item has no field 'database-url'"),
    ],
)
def test_a_missing_vault_item_or_field_is_reported_as_the_program_does(
    vaults: Vaults, wanted: str, problem: str
) -> None:
    with pytest.raises(SecretProblemError) as refused:
        vaults.read(reference(wanted))
    assert problem in refused.value.what


@pytest.mark.parametrize("written", ["invoicetron dev", "Invoicetron%20Dev", "Invoicetron  Dev", "Invoicetron Devv"])
def test_a_misspelled_title_is_reported_with_the_right_one(vaults: Vaults, written: str) -> None:
    with pytest.raises(SecretProblemError) as refused:
        vaults.read(SecretReference("Kubernetes", written, None, "postgres-password"))
    assert refused.value.what == f"the vault has no such item; it has '{TITLE}'"
    assert f"write op://Kubernetes/{TITLE}:" in refused.value.fix


def test_an_unknown_title_is_reported_without_a_guess(vaults: Vaults) -> None:
    with pytest.raises(SecretProblemError) as refused:
        vaults.read(SecretReference("Kubernetes", "Another App", None, "postgres-password"))
    assert refused.value.what == "the vault has no such item"


@pytest.mark.parametrize(
    "words",
    [
        "[ERROR] 2026/01/01 00:00:00 (429) Too Many Requests: ... Please retry in 58 minutes or try other requests.",
        "performing a vault operation: rate limit exceeded",
    ],
)
def test_a_service_account_that_may_ask_no_more_is_not_taken_for_a_bad_token(words: str) -> None:
    account = Mock()
    account.vault.side_effect = AccountError(words)
    with pytest.raises(SecretProblemError) as refused:
        Vaults(account).read(reference(f"op://Kubernetes/{TITLE}/postgres-password"))
    assert words in refused.value.what
    assert "op service-account ratelimit" in refused.value.fix
    assert "token" not in refused.value.fix


def test_no_secret_is_an_argument_of_the_command(command: Client, log: Path) -> None:
    Vaults(command).read(reference(f"op://Kubernetes/{TITLE}/postgres-password"))
    arguments = log.read_text()
    assert arguments.splitlines() == [
        "vault get Kubernetes --format=json",
        f"item get {TITLE} --vault={VAULT} --format=json",
    ]
    assert "ops_token" not in arguments


def test_a_missing_command_is_reported_with_the_variable_that_names_it() -> None:
    with pytest.raises(SecretProblemError) as refused:
        Vaults(CommandClient({"OP_CLI_PATH": "/nowhere/op"})).read(reference("op://a/b/c"))
    assert "/nowhere/op" in refused.value.what
    assert "OP_CLI_PATH" in refused.value.what


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (
            PlainTextResponse("<html>no such page</html>", 404),
            AccountError,
            "not JSON, so this is not a Connect server",
        ),
        (PlainTextResponse("<html>log in</html>"), AccountError, "not JSON, so this is not a Connect server"),
        (PlainTextResponse('{"id": "iiii", "fie'), AccountError, "not JSON"),
        (PlainTextResponse("", 302, {"Location": "https://login.example/"}), AccountError, "status 302"),
        (JSONResponse({"status": 403, "message": "not in scope"}, 403), AccountError, "status 403: not in scope"),
        (JSONResponse({"status": 429, "message": "slow down"}, 429), UnavailableError, "status 429: slow down"),
        (JSONResponse({"status": 409, "message": "vault changed"}, 409), UnavailableError, "status 409: vault changed"),
        (PlainTextResponse("upstream is away", 502), UnavailableError, "status 502"),
    ],
)
def test_only_connect_itself_says_that_an_item_is_gone(
    served: Callable[[ASGIApp], str], answer: Response, kind: type[AccountError], words: str
) -> None:
    account = client({"OP_CONNECT_HOST": served(answer), "OP_CONNECT_TOKEN": "token-of-theirs"})
    for ask in (account.get, account.delete, account.find):
        with pytest.raises(kind, match=words) as refused:
            ask(VAULT, ITEM)
        assert type(refused.value) is kind
        assert "token-of-theirs" not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "message", "what", "fix"),
    [
        (200, "", "there is no such vault", "correct its name in the stack file if it was renamed"),
        (403, "Token does not have access to the vault", "403: Token does not have access", "may read the vault"),
        (401, "Invalid bearer token", "401: Invalid bearer token", "has not expired"),
    ],
)
def test_a_vault_that_the_token_does_not_see_is_reported_with_every_possible_reason(
    served: Callable[[ASGIApp], str], status: int, message: str, what: str, fix: str
) -> None:
    answer = JSONResponse([] if status == 200 else {"status": status, "message": message}, status)
    account = client({"OP_CONNECT_HOST": served(answer), "OP_CONNECT_TOKEN": "t"})
    with pytest.raises(SecretProblemError) as refused:
        Vaults(account).read(reference("op://Renamed/x/y"))
    assert what in refused.value.what
    assert fix in refused.value.fix


def test_an_item_that_connect_does_not_have_is_gone(served: Callable[[ASGIApp], str]) -> None:
    gone = JSONResponse({"status": 404, "message": "item not found"}, 404)
    account = client({"OP_CONNECT_HOST": served(gone), "OP_CONNECT_TOKEN": "t"})
    assert account.get(VAULT, ITEM) is None
    account.delete(VAULT, ITEM)


def test_a_command_without_a_valid_answer_is_reported_without_its_output(tmp_path: Path) -> None:
    op = tmp_path / "op"
    op.write_text(f'#!/bin/sh\necho \'{{"password": "{PASSWORD}\'\n')
    op.chmod(0o700)
    with pytest.raises(AccountError, match="op item get answers with no JSON") as refused:
        CommandClient({"OP_CLI_PATH": str(op), "PATH": "/usr/bin:/bin"}).item(VAULT, TITLE)
    assert PASSWORD not in str(refused.value)


def test_a_conflict_with_another_write_to_the_vault_is_temporary(tmp_path: Path) -> None:
    op = tmp_path / "op"
    op.write_text(
        "#!/bin/sh\necho '[ERROR] 2026/01/01 00:00:00 (409) Conflict: Internal server conflict.' >&2\nexit 1\n"
    )
    op.chmod(0o700)
    account = CommandClient({"OP_CLI_PATH": str(op), "PATH": "/usr/bin:/bin"})
    for write in (account.create, account.replace):
        with pytest.raises(UnavailableError, match="Internal server conflict"):
            write(VAULT, {"id": ITEM})
    with pytest.raises(UnavailableError, match="Internal server conflict"):
        account.delete(VAULT, ITEM)


def item(**field: Any) -> dict[str, Any]:
    return {
        "id": ITEM,
        "title": TITLE,
        "category": "LOGIN",
        "sections": [{"id": "s", "label": "Data"}],
        "fields": [field],
    }


def test_a_field_of_a_person_s_own_outside_every_section_is_not_handed_out() -> None:
    found = item_of(item(id="a", label="postgres-password", value=PASSWORD))
    assert (found.fields, found.well_known) == ((), {})


def test_a_field_that_1password_knows_is_handed_out_under_each_of_its_names() -> None:
    assert item_of(item(id="a", label="Server", value="db")).well_known == {"hostname": "db", "server": "db"}


def test_a_field_is_recognised_by_its_section_s_label_too() -> None:
    (found,) = item_of(item(id="a", section={"id": "s"}, label="key", value="x")).fields
    assert found.section == ("s", "Data")


def test_an_item_does_not_show_its_values_when_printed() -> None:
    assert PASSWORD not in repr(item_of(item(id="a", section={"id": "s"}, label="key", value=PASSWORD)))
    assert PASSWORD not in repr(item_of(item(id="a", label="password", value=PASSWORD)))


def test_the_type_of_a_field_is_known() -> None:
    one_time = {"id": "a", "section": {"id": "s"}, "type": "OTP", "label": "code", "value": "otpauth://totp/x"}
    item = item_of({"id": ITEM, "title": TITLE, "category": "LOGIN", "sections": [{"id": "s"}], "fields": [one_time]})
    assert [one.type for one in item.fields] == ["OTP"]
