"""What `ops` says about unusable files, folders and options, before it asks any system."""

from __future__ import annotations

from pathlib import Path

import pytest
from kubernetes.client.exceptions import ApiException
from typer.testing import CliRunner

from ops.clients import load_settings
from ops.command_line import PulumiError
from ops.commands import app
from ops.kube.cluster import error_message
from ops.restore.source import SourceError
from ops.verify.trouble import explain
from settings import SettingsError


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("Pulumi.dev.yaml", "", "Pulumi.dev.yaml has no config, which is a mapping"),
        ("Pulumi.dev.yaml", "config:", "Pulumi.dev.yaml has no config, which is a mapping"),
        ("Pulumi.dev.yaml", "- config", "Pulumi.dev.yaml has no config, which is a mapping"),
        ("Pulumi.dev.yaml", "config: [a]", "Pulumi.dev.yaml has no config, which is a mapping"),
        ("Pulumi.yaml", "name: 5", "Pulumi.yaml has no name, which is a text"),
        ("Pulumi.yaml", "runtime: python", "Pulumi.yaml has no name, which is a text"),
        ("Pulumi.dev.yaml", "config:\n  a: 1\n  a: 2", "Pulumi.dev.yaml, line 2: the key a occurs twice"),
        ("Pulumi.dev.yaml", "config:\n  a: glpat-secret: b", "Pulumi.dev.yaml, line 2: mapping values"),
        ("Pulumi.dev.yaml", "config:\n\ta: 1", "Pulumi.dev.yaml, line 2: "),
    ],
)
def test_an_unreadable_file_is_reported_with_its_line_and_without_its_content(
    folder: Path, file: str, text: str, said: str
) -> None:
    (folder / file).write_text(text)
    with pytest.raises(SettingsError) as error:
        load_settings("dev")
    assert str(error.value).startswith(said)
    assert "glpat-secret" not in str(error.value)


@pytest.mark.usefixtures("folder")
def test_a_missing_stack_is_reported_with_the_existing_ones() -> None:
    with pytest.raises(SettingsError, match=r"Pulumi.stagign.yaml cannot be read .*found: dev$"):
        load_settings("stagign")


@pytest.mark.parametrize("folder_option", ["nowhere", "Pulumi.yaml"])
@pytest.mark.usefixtures("folder")
def test_an_option_that_names_no_folder_is_refused(folder_option: str) -> None:
    done = CliRunner().invoke(app, ["-C", folder_option, "status", "--stack", "dev"])
    assert done.exit_code == 2
    assert "--cwd" in done.output


@pytest.mark.parametrize(
    ("command", "given", "said"),
    [
        ("move-database", [], "given: neither"),
        ("move-database", ["--to", "oracle"], "given: --to oracle"),
        ("move-database", ["--to", "statefulset", "--discard"], "given: --to statefulset and --discard"),
        ("upgrade", [], "given: neither"),
        ("upgrade", ["--to", "18", "--discard"], "given: --to 18 and --discard"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_exactly_one_of_two_options_must_be_given(command: str, given: list[str], said: str) -> None:
    done = CliRunner().invoke(app, [command, "--stack", "dev", *given])
    assert isinstance(done.exception, SourceError)
    assert str(done.exception).endswith(said)


@pytest.mark.usefixtures("folder")
def test_an_output_in_a_missing_folder_is_refused_before_anything_is_asked() -> None:
    done = CliRunner().invoke(app, ["import-existing", "--stack", "dev", "--output", "nowhere/import.json"])
    assert isinstance(done.exception, PulumiError)
    assert str(done.exception) == "--output nowhere/import.json: there is no folder nowhere"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            '{"kind": "Status", "message": "namespaces \\"x\\" not found"}',
            'answered 404 Not Found: namespaces "x" not found',
        ),
        ("<html>a page</html>", "answered 404 Not Found, which is not JSON: something else answers"),
        ("", "answered 404 Not Found"),
        (None, "answered 404 Not Found"),
        ('"a text"', "answered 404 Not Found"),
    ],
)
def test_only_the_message_of_the_api_server_is_quoted(body: str | None, said: str) -> None:
    error = ApiException(status=404, reason="Not Found")
    error.body = body
    for told in (error_message(error), explain(error)[0].replace("answers", "answered", 1)):
        assert said in told
        assert "{" not in told
        assert "page" not in told
