"""The commands of `python -m ops`, each with its options; `__main__.py` turns their errors into messages."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from ops.adopt import import_existing
from ops.backup import NEARLY_FULL, NearlyFullError, back_up, check_has_backups
from ops.backups import Target, list_backups
from ops.clients import check_gitlab, connect, gitlab_client, kubernetes_client, load_settings
from ops.command_line import PulumiError
from ops.kube.cluster import Cluster, Interrupts
from ops.mirrors import MirrorError, push_now
from ops.move import Move
from ops.move.discard import Discarding
from ops.recover import recover
from ops.recover.deploy_tokens import revoke_orphans
from ops.recover.lock import UnknownHolderError
from ops.recover.unrecorded import record_lost
from ops.restore import Restore
from ops.restore.look import discard, look_into
from ops.restore.moment import recovered
from ops.restore.named import named
from ops.restore.options import Options
from ops.restore.recovery_drill import drill, not_due
from ops.restore.source import SourceError
from ops.superuser import Revocation
from ops.terminal import Terminal
from ops.upgrade import Discard, Upgrade
from ops.upgrade.operated import OperatedUpgrade
from settings import Settings
from settings.cloudnative_pg import STATEFUL_SET
from settings.commands import pulumi_command

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

backups_app = typer.Typer(no_args_is_help=True, help="Shows the backups.")
app.add_typer(backups_app, name="backups")

_WIDE = 250  # columns, if the output goes to no terminal

StackOption = Annotated[str, typer.Option(help="Which stack.")]


def _cluster(settings: Settings, interrupts: Interrupts) -> Cluster:
    return Cluster(client=kubernetes_client(settings), names=settings.names, interrupts=interrupts)


def _confirm(announcement: str, question: str, *, yes: bool) -> None:
    """Prints what will happen and asks the user, unless the command line has answered already.

    `Interrupts` must not be entered: it would only note Ctrl-C, and the question would go on waiting.
    """
    typer.echo(announcement)
    try:
        agreed = yes or typer.confirm(question)
    except typer.Abort:
        if not sys.stdin.isatty():
            typer.echo("\nNobody answers, and this is no terminal: to go on without a question, give --yes.", err=True)
        raise
    if not agreed:
        raise typer.Abort


def _given(to: object, *, discarded: bool) -> str:
    """Which of `--to` and `--discard` were given, for the error of a command that takes exactly one."""
    given = [*([f"--to {to}"] if to is not None else []), *(["--discard"] if discarded else [])]
    return " and ".join(given) or "neither"


@app.callback()
def in_folder(
    cwd: Annotated[
        Path | None,
        typer.Option(
            "--cwd", "-C", help="Folder of the app's Pulumi.yaml, e.g. apps/<app>.", exists=True, file_okay=False
        ),
    ] = None,
) -> None:
    """Operations on a live stack: checks, backups, restores, moves and repairs."""
    if cwd is not None:
        os.chdir(cwd)


@app.command("recover")
def recover_command(
    stack: StackOption,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask whether the process that holds the lock has ended.")
    ] = False,
) -> None:
    """Cleans up after an `up` that was killed: records or revokes what it had created but not recorded."""
    settings = load_settings(stack)
    live = connect(settings)
    if live.gitlab is not None:
        typer.echo(f"Using GitLab at {live.gitlab.url}.")
        check_gitlab(live.gitlab)
    try:
        done = recover(settings.names, live.find, certain=yes)
    except UnknownHolderError as error:
        if not sys.stdin.isatty():
            raise PulumiError(f"{error}, then run this with --yes. Nothing was changed.") from None
        typer.confirm(f"{error}. Remove the lock?", abort=True)
        done = recover(settings.names, live.find, certain=True)
    if done.mended:
        typer.echo("The state was half-written and has been repaired.")
    for urn, id_ in done.imported.items():
        recorded = "recorded by the next `up`" if urn in done.taken_over else "now recorded"
        typer.echo(f"created, {recorded}: {urn} ({id_})")
    for urn in done.cleared:
        typer.echo(f"begun and never made:  {urn}")
    for urn in done.released:
        typer.echo(
            f"released, for `up` to take over what 1Password has (before a destroy, delete that item by hand): {urn}"
        )
    if live.gitlab is not None:
        for username in revoke_orphans(settings, live.gitlab, live.kubernetes):
            typer.echo(f"created but never recorded, now revoked: deploy token {username}")
    if live.cloudflare is not None:
        for name, id_ in record_lost(settings, live.cloudflare).items():
            typer.echo(f"created but never recorded, now recorded: {name} ({id_})")
    typer.echo(f"Now run: {done.next}")


@app.command("import-existing")
def import_existing_command(
    stack: StackOption,
    output: Annotated[Path, typer.Option(help="Where to write the import file.", dir_okay=False, writable=True)] = Path(
        "import.json"
    ),
) -> None:
    """Writes the ids of existing resources, for `pulumi import`. Changes nothing."""
    if not output.parent.is_dir():
        raise PulumiError(f"--output {output}: there is no folder {output.parent}")
    live = connect(load_settings(stack))
    if live.gitlab is not None:
        check_gitlab(live.gitlab)
    found = import_existing(stack, live)
    if fatal := found.fatal:
        output.unlink(missing_ok=True)  # the user might still import the file of an earlier run
        typer.echo("Do not import or delete anything yet; no file was written. First:")
        for name, blocker in fatal:
            typer.echo(f"\n# {name}: {blocker.why}\n{blocker.remedy}")
        return
    output.write_text(json.dumps(found.document, indent=2) + "\n")
    for title, names in (
        ("imported with that file", found.imported),
        ("taken over by `up` itself", found.taken_over),
        ("made by `up`", found.missing),
    ):
        typer.echo(f"{title}: {', '.join(names) or 'nothing'}")
    typer.echo("\nFirst, each of these:" if found.blockers else "\nNothing prevents the import.")
    for name, blockers in found.blockers.items():
        for blocker in blockers:
            typer.echo(f"\n# {name}: {blocker.why}\n{blocker.remedy}")
    command = pulumi_command("import", stack, f"--file {output}", "--protect=false --generate-code=false")
    typer.echo(f"\nThen: {command}")


@app.command("backup")
def backup_command(stack: StackOption) -> None:
    """Takes a backup now and waits for it. Status 3: the backup is complete, but its volume is nearly full."""
    settings = load_settings(stack)
    check_has_backups(settings)
    with Interrupts() as interrupts:
        try:
            back_up(_cluster(settings, interrupts), Terminal())
        except NearlyFullError as error:
            typer.echo(f"{error}", err=True)
            raise typer.Exit(NEARLY_FULL) from error


@backups_app.command("list")
def list_command(
    stack: StackOption,
    target: Annotated[Target, typer.Option(help="Where to look: on the volume, or off-site.")] = Target.VOLUME,
) -> None:
    """Lists the backups: age, size, rows, app image, migration, who took it, and whether a drill restored it."""
    settings = load_settings(stack)
    with Interrupts() as interrupts:
        listed = list_backups(_cluster(settings, interrupts), Terminal(), settings, target, now=dt.datetime.now(dt.UTC))
    console = Console()
    if not console.is_terminal:
        console.width = _WIDE
    console.print(listed)


@app.command("restore")
def restore_command(
    stack: StackOption,
    *,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="latest, the name of a backup or a time, each with s3: in front for the off-site copies; or a dump.",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="A time: recovers the database as it was then, from its archived write-ahead log."),
    ] = None,
    archive: Annotated[
        str | None, typer.Option(help="With --to: name of the archive, if not that of the live database.")
    ] = None,
    expect: Annotated[
        str | None, typer.Option(help="Row counts to expect after the restore, e.g. invoices=567,user=1.")
    ] = None,
    clear_sessions: Annotated[bool, typer.Option("--clear-sessions", help="Log everybody out.")] = False,
    into: Annotated[
        str | None, typer.Option(help="Name of a database to fill beside the live one, which is not replaced.")
    ] = None,
    discarded: Annotated[
        str | None, typer.Option("--discard", help="Name that was given to --into: deletes that database.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the database is replaced.")] = False,
) -> None:
    """Replaces the database with a backup, or with a dump from this machine. The app is stopped during that time."""
    settings = load_settings(stack)
    request, moment = Options(
        source=source,
        to=to,
        archive=archive,
        expect=expect,
        clear_sessions=clear_sessions,
        into=into,
        discarded=discarded,
    ).check(settings)
    interrupts, terminal = Interrupts(), Terminal()
    cluster = _cluster(settings, interrupts)
    if request is None:
        with interrupts:
            discard(cluster, terminal, name=discarded or "")
        return
    with interrupts:
        if moment is not None:
            request = replace(request, source=recovered(cluster, terminal, moment))
        request = named(cluster, terminal, request, now=dt.datetime.now(dt.UTC))
    if into is not None:
        with interrupts:
            look_into(cluster, terminal, request, settings.database or STATEFUL_SET)
        return
    restore = Restore.look(cluster, terminal, request)
    _confirm(restore.announcement, "Replace it?", yes=yes)
    with interrupts:
        restore.run()


@app.command("drill")
def drill_command(
    stack: StackOption,
    *,
    if_due: Annotated[
        bool, typer.Option("--if-due", help="Only if the last drill is a week old and the stack has an archive.")
    ] = False,
) -> None:
    """Recovers a database from the archived log beside the live one, counts its rows, and deletes it again."""
    settings, now = load_settings(stack), dt.datetime.now(dt.UTC)
    with Interrupts() as interrupts:
        cluster = _cluster(settings, interrupts)
        why = not_due(cluster, settings, now) if if_due else None
        typer.echo(why or drill(cluster, Terminal(), settings, now))


@app.command("move-database")
def move_database_command(
    stack: StackOption,
    *,
    to: Annotated[str | None, typer.Option("--to", help="cloudnative-pg or statefulset.")] = None,
    discarded: Annotated[bool, typer.Option("--discard", help="Delete the old database of a move.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Moves the data to the other engine's database, which `up` has created. The app is stopped during that time."""
    if (to is None) != discarded or to not in (None, "cloudnative-pg", "statefulset"):
        raise SourceError(
            "give either --to (cloudnative-pg or statefulset), or --discard to delete the old database; given: "
            f"{_given(to, discarded=discarded)}"
        )
    settings, interrupts, terminal = load_settings(stack), Interrupts(), Terminal()
    cluster = _cluster(settings, interrupts)
    task: Move | Discarding
    if to is None:
        task = Discarding.look(cluster, terminal, settings)
    else:
        task = Move.look(cluster, terminal, settings, "statefulset" if to == "statefulset" else "cloudnative-pg")
        if task.is_done:
            typer.echo(f"The app of {stack} runs on {to} already. Nothing was changed.")
            return
    _confirm(task.announcement, "Go on?", yes=yes)
    with interrupts:
        task.run()


@app.command("revoke-superuser")
def revoke_superuser_command(
    stack: StackOption,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Revokes SUPERUSER from the app's role, which then owns its database. Its password stays the same."""
    settings, interrupts = load_settings(stack), Interrupts()
    revocation = Revocation.look(_cluster(settings, interrupts), settings)
    _confirm(revocation.announcement, "Go on?", yes=yes)
    with interrupts:
        typer.echo(revocation.run())


@app.command("upgrade")
def upgrade_command(
    stack: StackOption,
    *,
    to: Annotated[int | None, typer.Option(help="Major version of PostgreSQL, that of database.upgrade.image.")] = None,
    discard_old: Annotated[
        bool, typer.Option("--discard", help="Delete the claim of the previous version, which the upgrade kept.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Moves the database to another major version of PostgreSQL. The app is stopped during that time."""
    settings, interrupts = load_settings(stack), Interrupts()
    if (to is None) == (not discard_old):
        raise SourceError(
            "give either --to with the version, or --discard to delete what the last upgrade kept; given: "
            f"{_given(to, discarded=discard_old)}"
        )
    cluster = _cluster(settings, interrupts)
    if to is None:
        discarded = Discard.look(cluster, settings)
        _confirm(discarded.announcement, "Delete it?", yes=yes)
        with interrupts:
            typer.echo(discarded.run())
        return
    upgrade = (OperatedUpgrade if settings.operated_database else Upgrade).look(cluster, Terminal(), settings, to)
    _confirm(upgrade.announcement, "Go on?", yes=yes)
    with interrupts:
        upgrade.run()


@app.command("sync-mirror")
def sync_mirror_command(stack: StackOption) -> None:
    """Makes GitLab push to the mirror now, and waits for it. Run it once the mirror's key is in GitHub."""
    settings = load_settings(stack)
    gitlab = gitlab_client(settings)
    if gitlab is None or settings.delivery is None or settings.repository is None:
        raise MirrorError(f"Pulumi.{stack}.yaml has no section repository, so this stack has no mirror")
    check_gitlab(gitlab)
    at = push_now(gitlab.projects.get(settings.delivery.project), settings.repository.mirror)
    typer.echo(f"{settings.repository.mirror} has what GitLab has, since {at}.")


@app.command("verify")
def verify_command(
    stack: StackOption,
    as_json: Annotated[bool, typer.Option("--json", help="Print a machine-readable report.")] = False,
) -> None:
    """Checks the live system against the stack file. Changes nothing; exits with 1 if a check failed."""
    from ops import verify  # noqa: PLC0415 - imports the components' SDKs, which the other commands do not need

    results = verify.verify(load_settings(stack))
    if as_json:
        typer.echo(verify.as_json(stack, results))
    else:
        verify.show(results, Console())
    raise typer.Exit(0 if all(one.ok for one in results) else 1)


@app.command("status")
def status_command(
    stack: StackOption,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every ten seconds, until Ctrl-C.")] = False,
) -> None:
    """Shows what runs and since when, the last backups, what expires, and which alerts fire. Only reads."""
    from ops import status  # noqa: PLC0415 - as for verify

    (status.watch if watch else status.show)(load_settings(stack), Console())


@app.command("record")
def record_command(
    check: Annotated[Literal["drift", "verify"], typer.Argument(help="The check that has passed.")], stack: StackOption
) -> None:
    """Records in a Lease that a scheduled check has passed, so that alerts notice when it stops; for pipelines.

    Also records figures of the last backup and the last drills for the dashboard.
    """
    from ops import backup_metrics, checks  # noqa: PLC0415 - imports the client's models, which others do not need

    settings = load_settings(stack)
    client = kubernetes_client(settings)
    typer.echo(checks.record(client, settings.names, check))
    if told := backup_metrics.record(client, settings):
        typer.echo(told)
