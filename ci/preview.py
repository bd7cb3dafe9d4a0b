"""One stack's preview for its reviewers: `python -m ci.preview dev`.

It previews the live stack if the job has its credentials, otherwise the rehearsal's. The result goes into the job's
log, into the file that GitLab's merge request widget reads, and into one comment on the merge request, which later
pipelines edit.

The credentials are for protected branches only, because whoever can push a branch decides what its jobs run. A job on
another branch that can still see some of them fails and names them, so that their owner finds the mistake.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
from gitlab.exceptions import GitlabError

from ci.kubeconfig import is_credential
from ci.merge_request import put_comment
from ci.report import STREAMED, Preview, comment, log, marker, widget

CREDENTIALS: Final = (
    "PULUMI_CONFIG_PASSPHRASE",
    "PULUMI_ACCESS_TOKEN",
    "KUBECONFIG",
    "OP_CONNECT_TOKEN",
    "OP_SERVICE_ACCOUNT_TOKEN",
    "GITLAB_TOKEN",
    "CLOUDFLARE_API_TOKEN",
)
"""CI variables that give access to a live stack, or to its secrets."""

BACKEND: Final = (
    "PULUMI_CONFIG_PASSPHRASE_FILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "GOOGLE_CREDENTIALS",
    "PGPASSWORD",
)
"""CI variables that give access to the state of the live stacks. On their own, they do not allow a preview of one."""

app = typer.Typer(add_completion=False)


class ExposedError(Exception):
    """A job on an unprotected branch can see credentials; the message names them, and what to do."""


def is_live(environment: Mapping[str, str]) -> bool:
    """Whether the job has the credentials of a live stack. Raises `ExposedError` if it should have none."""
    seen = [name for name in (*CREDENTIALS, *BACKEND) if environment.get(name)]
    if "KUBECONFIG" in seen and not is_credential(environment["KUBECONFIG"]):
        seen.remove("KUBECONFIG")
    # A URL alone gives no access unless it contains a login: postgres://user:password@host/state.
    if "@" in environment.get("PULUMI_BACKEND_URL", ""):
        seen.append("PULUMI_BACKEND_URL")
    if not seen:
        return False
    # Always "false" for a merge request, unless its source and its target are protected and the project allows it
    # (Settings > CI/CD > Variables, "access protected resources").
    if environment.get("CI_COMMIT_REF_PROTECTED") != "true":
        raise ExposedError(
            f"A job of an unprotected branch can read {', '.join(seen)}. So can everybody who may push a branch. "
            "Nothing was previewed. Protect these variables (Settings > CI/CD > Variables: Protect variable), and "
            "change what they held if the branch was not yours."
        )
    return not set(CREDENTIALS).isdisjoint(seen)


@app.command()
def preview(
    stack: Annotated[str, typer.Argument(help="The stack to preview.")],
    report: Annotated[Path, typer.Option(help="File to write the widget's counts to.")] = Path("preview-report.json"),
    expect_no_changes: Annotated[
        bool, typer.Option("--expect-no-changes", help="Fail if the live stack differs from the program.")
    ] = False,
    cwd: Annotated[Path, typer.Option("--cwd", "-C", help="Folder of the app's Pulumi.yaml.")] = Path(),
) -> None:
    """Previews the stack and reports to the reviewers; fails if the preview fails."""
    try:
        live = is_live(os.environ)
    except ExposedError as error:
        raise SystemExit(str(error)) from None
    if expect_no_changes and not live:
        raise SystemExit(f"This job has no credentials of stack {stack}, so it cannot look for drift.")
    other = cwd.resolve() != Path.cwd()
    if live:
        pack = str(Path("policies").absolute())
        command = ["pulumi", "preview", "--cwd", str(cwd), "--stack", stack, "--json", "--policy-pack", pack]
        command.append("--non-interactive")
    elif other:
        typer.echo(f"This job has no credentials of stack {stack}, and the rehearsal has the app of this folder only.")
        raise SystemExit(0)
    else:
        typer.echo(f"This job has no credentials of stack {stack}: it shows the rehearsal's preview of a first up.")
        command = [sys.executable, "-m", "rehearsal", "preview", "--stack", stack, "--json"]
    done = subprocess.run(
        command,
        env={**os.environ, **STREAMED},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    parsed = Preview.parse(done.stdout, status=done.returncode)
    typer.echo(log(parsed))
    report.write_text(widget(parsed))
    # Also after a failed preview, so that the reviewer sees that it failed.
    _tell_reviewer(parsed, stack=f"{cwd.name}/{stack}" if other else stack, rehearsed=not live)
    # Not pulumi's option of that name: it counts changes in the job's own credentials that a provider records.
    if expect_no_changes and parsed.changes:
        raise SystemExit("no changes were expected, but the live stack is not what the program says")
    raise SystemExit(1 if parsed.failed else 0)


def _tell_reviewer(preview: Preview, *, stack: str, rehearsed: bool) -> None:
    if "CI_MERGE_REQUEST_IID" not in os.environ:
        return
    if not os.environ.get("GITLAB_NOTE_TOKEN"):
        typer.echo("No comment on the merge request: GITLAB_NOTE_TOKEN is not set.")
        return
    body = comment(
        preview,
        stack=stack,
        commit=os.environ["CI_COMMIT_SHORT_SHA"],
        job_url=os.environ["CI_JOB_URL"],
        rehearsed=rehearsed,
    )
    try:
        put_comment(os.environ, marker=marker(stack), body=body)
    except GitlabError as error:
        raise SystemExit(
            f"GitLab refused the comment on the merge request: {error}. GITLAB_NOTE_TOKEN has to be an access token of "
            "this project with the scope api and the role Reporter, and not expired."
        ) from None
    except OSError as error:
        raise SystemExit(
            f"The comment on the merge request did not reach GitLab: {error}. The job has to reach CI_SERVER_URL, and "
            "to trust its certificate (SSL_CERT_FILE names private ones)."
        ) from None


if __name__ == "__main__":
    app()
