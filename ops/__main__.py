"""What a deployment is not: `python -m ops --help`, in the program's directory, with the providers' environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ops.clients import connect, load_settings
from ops.command_line import PulumiError
from ops.import_existing import import_existing
from ops.recover import recover
from ops.tokens import revoke_orphans
from settings import SettingsError

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

StackOption = Annotated[str, typer.Option(help="Which stack.")]


@app.command("recover")
def recover_command(stack: StackOption) -> None:
    """After an `up` that was killed, or lost its connection: records or revokes what it had made and not recorded."""
    settings = load_settings(stack)
    live = connect(settings)
    done = recover(stack, live.find)
    if done.mended:
        typer.echo("The state was half-written and has been mended.")
    for urn, id_ in done.imported.items():
        typer.echo(f"made and now recorded: {urn} ({id_})")
    for urn in done.cleared:
        typer.echo(f"begun and never made:  {urn}")
    if live.gitlab is not None:
        for username in revoke_orphans(settings, live.gitlab):
            typer.echo(f"made, and lost before it was recorded, so revoked: deploy token {username}")
    typer.echo(f"Now run: pulumi up -s {stack}")


@app.command("import-existing")
def import_existing_command(
    stack: StackOption,
    output: Annotated[Path, typer.Option(help="Where the import file goes.")] = Path("import.json"),
) -> None:
    """Writes the ids of what exists already, for `pulumi import`. Changes nothing anywhere."""
    found = import_existing(stack, connect(load_settings(stack)).find)
    output.write_text(json.dumps(found.document, indent=2) + "\n")
    typer.echo(f"exists: {', '.join(found.existing) or 'nothing'}")
    typer.echo(f"will be created: {', '.join(found.missing) or 'nothing'}")
    typer.echo(f"Now run: pulumi import -s {stack} --file {output} --protect=false --generate-code=false")


if __name__ == "__main__":
    try:
        app()
    except (PulumiError, SettingsError) as error:
        sys.exit(str(error))
