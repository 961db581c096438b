"""The commands and their options. What they do is in the modules of this package, each loaded when its command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from vaultembed import __version__
from vaultembed.cli.embeddings_app import embeddings_app
from vaultembed.cli.options import LARGEST, ArchiveOption, JsonOption, YesOption

EPILOG = (
    "Exit codes: 0 done, 1 error, 2 usage, 3 incomplete (more to do), 4 no usable generation or model, 5 damage found, "
    "74 input/output error or disk full, 75 busy, 130 interrupted, 143 terminated."
)

app = typer.Typer(
    name="vaultembed",
    help="Private, local semantic memory for a lifetime of messages. Nothing leaves this machine.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich would take half of the time of --help
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
models_app = typer.Typer(help="Embedding models: which there are, fetching, facts.", rich_markup_mode=None)
app.add_typer(embeddings_app, name="embeddings", invoke_without_command=True)
app.add_typer(models_app, name="models", invoke_without_command=True)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vaultembed {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Private, local semantic memory for a lifetime of messages. Nothing leaves this machine."""


@app.command("import")
def import_command(
    paths: Annotated[
        list[Path],
        typer.Argument(help="mbox files, Maildirs, message files, folders of these; or a msgvault archive."),
    ],
    archive: ArchiveOption = None,
    raw: Annotated[
        Literal["keep", "none"], typer.Option(help="keep: also keep each message as it was sent. none: do not.")
    ] = "keep",
    vectors: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="The vectors.db of a msgvault archive, where it does not lie beside its msgvault.db."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be taken over from a msgvault archive, and do nothing.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Import mail. What is in the archive already is skipped; run it again whenever there is more."""
    from vaultembed.cli import importing

    if dry_run:
        importing.run_dry(paths, archive, vectors, json)
    importing.run(paths, archive, raw, vectors, json)


@app.command()
def search(
    query: Annotated[
        list[str],
        typer.Argument(
            help='Words, "phrases", and filters: from: to: subject: label: source: type: has:attachment before: after:'
            " (2019-06-30)"
        ),
    ],
    archive: ArchiveOption = None,
    mode: Annotated[
        Literal["hybrid", "vector", "text"],
        typer.Option(help="hybrid: by words and by meaning. vector: by meaning. text: by words."),
    ] = "hybrid",
    number: Annotated[int, typer.Option("-n", "--number", min=1, max=10_000, help="How many results.")] = 10,
    json: JsonOption = False,
) -> None:
    """Find messages by meaning, by words, or both."""
    from vaultembed.cli import searching

    searching.run(" ".join(query), archive, mode, number, json)


@app.command()
def show(
    message_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST, help="As search shows it.")],
    archive: ArchiveOption = None,
    raw: Annotated[bool, typer.Option("--raw", help="The message as it was sent.")] = False,
    json: JsonOption = False,
) -> None:
    """Show one message."""
    from vaultembed.cli import showing

    if raw and json:
        raise typer.BadParameter("--raw writes the message and nothing else; it does not go with --json")
    if raw:
        showing.run_raw(message_id, archive)
    else:
        showing.run(message_id, archive, json)


@app.command()
def delete(
    what: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="QUERY|ID...", help="Ids, or a query: messages in which all of its words occur."),
    ] = None,
    archive: ArchiveOption = None,
    query: Annotated[bool, typer.Option("--query", help="It is a query, even if it looks like ids.")] = False,
    forever: Annotated[bool, typer.Option("--forever", help="So that they cannot be brought back.")] = False,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Among messages deleted before; without a query all. With --forever.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Delete messages from the archive; the mail they were imported from is not touched. They can be brought back."""
    from vaultembed.cli import deletion

    deletion.run_delete(what or [], archive, query, forever, deleted, dry_run, yes, json)


@app.command()
def undelete(
    ids: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Argument(metavar="ID...", min=1, max=LARGEST, help="None: list the deleted messages."),
    ] = None,
    archive: ArchiveOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    number: Annotated[int, typer.Option("-n", "--number", min=1, max=LARGEST, help="How many to list.")] = 100,
    json: JsonOption = False,
) -> None:
    """Bring deleted messages back, or list them."""
    from vaultembed.cli import deletion

    deletion.run_undelete(ids or [], archive, everything, number, json)


@app.command()
def problems(
    archive: ArchiveOption = None,
    kind: Annotated[Optional[str], typer.Option(help="Only of this kind.")] = None,  # noqa: UP045
    number: Annotated[int, typer.Option("-n", "--number", min=1, max=LARGEST, help="How many.")] = 100,
    json: JsonOption = False,
) -> None:
    """List what could not be read as it should, and where."""
    from vaultembed.cli import showing

    showing.run_problems(archive, kind, number, json)


@app.command()
def stats(archive: ArchiveOption = None, json: JsonOption = False) -> None:
    """Show what the archive holds."""
    from vaultembed.cli import statistics

    statistics.run(archive, json)


@app.command()
def backup(
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="The new file.")],
    archive: ArchiveOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace DEST if it exists.")] = False,
    json: JsonOption = False,
) -> None:
    """Copy the archive to a file, and check the copy. Works at any time, also while mail is imported or embedded."""
    from vaultembed.cli import backup as backup_command

    backup_command.run_backup(destination, archive, overwrite, json)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A backup.")],
    archive: ArchiveOption = None,
    check: Annotated[bool, typer.Option("--check", help="Only say whether SRC is whole, and what it holds.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: JsonOption = False,
) -> None:
    """Make the archive a copy of a backup. An archive that is there is moved aside, never deleted."""
    from vaultembed.cli import backup as backup_command

    if check:
        backup_command.run_check(source, json)
    else:
        backup_command.run_restore(source, archive, yes, json)


@app.command()
def migrate(
    to: Annotated[Optional[int], typer.Option("--to", min=0, help="Default: the latest.")] = None,  # noqa: UP045
    archive: ArchiveOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before going down.")] = False,
    json: JsonOption = False,
) -> None:
    """Bring the archive to the schema of this vaultembed, or of an older one; a backup is made first."""
    from vaultembed.cli import backup as backup_command

    backup_command.run_migrate(to, archive, yes, json)


@app.command()
def doctor(
    archive: ArchiveOption = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair what can be made again from what is sound. Never deletes a message.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Count and check everything from scratch: structure, counters, vectors, indexes. Changes nothing by itself."""
    from vaultembed.cli import doctor as doctor_command

    doctor_command.run(archive, fix, json)


@app.command("repair-encoding")
def repair_encoding(
    archive: ArchiveOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be changed.")] = False,
    source: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--source", help="Only messages of this source: its path, or the end of it. May be repeated."),
    ] = None,
    ids: Annotated[Optional[str], typer.Option("--ids", help="Only these messages: 17,18,23.")] = None,  # noqa: UP045
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--limit", min=1, max=LARGEST, help="Stop when so many messages are repaired."),
    ] = None,
    only: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--only", help="Only this field: subject, body, snippet, name, label, file, conversation. May be repeated."
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also repair what was undone before.")] = False,
    undo: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--undo", metavar="RUN", min=1, max=LARGEST, help="Put back what a run has changed."),
    ] = None,
    runs: Annotated[bool, typer.Option("--runs", help="List the runs there were.")] = False,
    json: JsonOption = False,
) -> None:
    """Find text that was stored wrongly (garbled letters, undecoded headers) and repair it. Each run can be undone."""
    from vaultembed.cli import repairing
    from vaultembed.cli.output import told_errors

    if runs:
        repairing.run_list(archive, json)
    if undo is not None:
        repairing.run_undo(archive, undo, json)
    with told_errors("repair-encoding", json):
        wanted, fields = repairing.ids_of(ids), repairing.fields_of(only or [])
    request = repairing.request_of(dry_run, source or [], wanted, limit, fields, again, json)
    repairing.run(archive, request, json)


@app.command()
def mcp(
    archive: ArchiveOption = None,
    http: Annotated[bool, typer.Option("--http", help="Over HTTP instead of standard input and output.")] = False,
    host: Annotated[str, typer.Option(help="With --http: the address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="With --http. 0: any that is free.")] = 8737,
    remote: Annotated[
        bool, typer.Option("--remote", help="With --http: let other machines ask, too. Needs --token-file.")
    ] = False,
    token_file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE", help="With --http: clients must give the token in this file, of mode 0600."),
    ] = None,
    allow_host: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(metavar="NAME", help="With --http: another name by which clients call this machine."),
    ] = None,
    time_limit: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(min=1, max=3600, metavar="SECONDS", help="How long one call may take. Default: 50."),
    ] = None,
    install: Annotated[
        Optional[Literal["claude-desktop", "claude-code", "cursor", "vscode"]],  # noqa: UP045
        typer.Option(help="Show how this client is told of the archive, and exit."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="With --install: write it to the client's configuration; a copy is kept.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Let an assistant (any MCP client) search the archive and read mail. It can change nothing."""
    if install is not None:
        from vaultembed.cli import installing

        installing.run(install, archive, write, json)
    if write or json:
        raise typer.BadParameter("--write and --json go with --install")
    from vaultembed.cli import serving

    if http:
        serving.run_http(archive, host, port, remote, token_file, allow_host or [], time_limit)
    if remote or token_file or allow_host:
        raise typer.BadParameter("--remote, --token-file and --allow-host go with --http")
    serving.run_stdio(archive, time_limit)


@app.command()
def demo(
    keep: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Keep the demo's archive in this new file, to try things on."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Import, embed and search a small invented mailbox, explaining each step. Fetches the model if it is not here."""
    from vaultembed.cli import demo as demo_command

    demo_command.run(keep, json)


@models_app.callback()
def models(context: typer.Context, json: JsonOption = False) -> None:
    """List the models that are known, and which are here."""
    if context.invoked_subcommand is None:
        from vaultembed.cli import models as models_command

        models_command.run_list(json)


@models_app.command("pull")
def models_pull(
    name: Annotated[Optional[str], typer.Argument(help="Default: all-minilm-l6-v2.")] = None,  # noqa: UP045
    json: JsonOption = False,
) -> None:
    """Fetch a model, unless it is here and whole. From then on nothing needs the network."""
    from vaultembed.cli import models as models_command

    models_command.run_pull(name, json)


@models_app.command("info")
def models_info(
    model: Annotated[str, typer.Argument(help="Name of a known model, or path of a .gguf.")],
    json: JsonOption = False,
) -> None:
    """Show the facts of a model: dimension, context, prefixes, licence, checksums."""
    from vaultembed.cli import models as models_command

    models_command.run_info(model, json)
