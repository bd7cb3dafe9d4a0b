"""Puts the report of a preview on its merge request: `python -m ci.note --stack dev preview.json`.

Needs a project access token with scope `api` and role Reporter in GITLAB_NOTE_TOKEN: a job's own CI_JOB_TOKEN may not
write notes (gitlab-org/gitlab#464591). Without it, or outside a merge request, only the widget's file is written.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import gitlab
import typer

from ci.report import Preview, comment, marker, widget

app = typer.Typer(add_completion=False)


@app.command()
def note(
    preview: Annotated[Path, typer.Argument(help="Output of `pulumi preview --json`.", exists=True)],
    stack: Annotated[str, typer.Option(help="The stack that was previewed.")],
    report: Annotated[Path, typer.Option(help="Where the widget's counts go.")] = Path("preview-report.json"),
    rehearsed: Annotated[bool, typer.Option("--rehearsed", help="The rehearsal's preview, not the live one.")] = False,
) -> None:
    """Writes the widget's counts and creates, or edits, the one comment of this stack."""
    parsed = Preview.parse(preview.read_text())
    report.write_text(widget(parsed))
    token, merge_request = os.environ.get("GITLAB_NOTE_TOKEN"), os.environ.get("CI_MERGE_REQUEST_IID")
    if not token or not merge_request:
        typer.echo("No comment: GITLAB_NOTE_TOKEN is not set, or this is no merge request pipeline.", err=True)
        return
    body = comment(parsed, stack=stack, job_url=os.environ["CI_JOB_URL"], rehearsed=rehearsed)
    server = gitlab.Gitlab(os.environ["CI_SERVER_URL"], private_token=token, retry_transient_errors=True)
    project = server.projects.get(os.environ["CI_PROJECT_ID"], lazy=True)
    notes = project.mergerequests.get(merge_request, lazy=True).notes
    mine = next((one for one in notes.list(iterator=True) if one.body.startswith(marker(stack))), None)
    if mine is None:
        notes.create({"body": body})
    elif mine.body != body:
        notes.update(mine.id, {"body": body})


if __name__ == "__main__":
    app()
