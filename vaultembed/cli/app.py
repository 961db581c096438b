"""The commands and their options. What they do is in the modules of this package, each loaded when its command runs.

Here and in `…_app` annotations are not strings (`from __future__ import annotations`): Typer reads those of every
command at every start, and evaluating strings would take 18 ms of 80.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vaultembed import __version__
from vaultembed.cli.embeddings_app import embeddings_app
from vaultembed.cli.eval_app import eval_app
from vaultembed.cli.help import ARCHIVE, EVERYDAY, MEANING, MESSAGES, PROGRAMS, Root, command, show_page
from vaultembed.cli.models_app import models_app
from vaultembed.cli.options import (
    ArchiveOption,
    JsonOption,
    Numbers,
    OptionalNumber,
    OptionalPath,
    OptionalPaths,
    OptionalText,
    Texts,
    YesOption,
    decimal,
    whole,
)

app = typer.Typer(
    name="vaultembed",
    cls=Root,
    epilog="vaultembed import ~/Mail\n"
    "vaultembed embeddings build\n"
    'vaultembed search "the landlord and the broken heating"\n'
    "vaultembed help search",
    no_args_is_help=True,
    rich_markup_mode=None,  # rich would take half of the time of --help
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.add_typer(embeddings_app, name="embeddings", invoke_without_command=True, rich_help_panel=MEANING)
app.add_typer(models_app, name="models", invoke_without_command=True, rich_help_panel=MEANING)
app.add_typer(eval_app, name="eval", rich_help_panel=MEANING)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vaultembed {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Private, local semantic memory for a lifetime of messages. Nothing leaves this machine."""


@command(
    app,
    "import",
    "vaultembed import ~/Mail",
    "vaultembed import Takeout.mbox ~/Maildir letter.eml",
    "vaultembed import --dry-run ~/.msgvault",
    group=EVERYDAY,
)
def import_command(
    paths: Annotated[
        OptionalPaths,
        typer.Argument(
            metavar="PATH...", help="mbox files, Maildirs, message files, folders of these; or a msgvault archive."
        ),
    ] = None,
    archive: ArchiveOption = None,
    raw: Annotated[
        Literal["keep", "none"],
        typer.Option(metavar="keep|none", help="keep: also keep each message as it was sent. none: do not."),
    ] = "keep",
    vectors: Annotated[
        OptionalPath,
        typer.Option(
            metavar="FILE", help="The vectors.db of a msgvault archive, where it does not lie beside its msgvault.db."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be taken over from a msgvault archive, and do nothing.")
    ] = False,
    reread: Annotated[
        bool,
        typer.Option(
            "--reread",
            help="Without a PATH: read again, from what is kept of it, mail that an earlier version has read.",
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Import mail. What is in the archive already is skipped; run it again whenever there is more."""
    from vaultembed.cli import importing

    if bool(paths) == reread:
        raise typer.BadParameter(
            "--reread goes without a PATH: to import one does it, too" if reread else "Missing argument 'PATH...'"
        )
    if reread:
        importing.run_reread(archive, as_json=json)
    if dry_run:
        importing.run_dry(paths or [], archive, vectors, as_json=json)
    importing.run(paths or [], archive, raw, vectors, as_json=json)


@command(
    app,
    "search",
    'vaultembed search "when did we decide to move"',
    "vaultembed search --mode text '\"exact words\" from:anna before:2015'",
    "vaultembed search -n 3 --json boat has:attachment",
    group=EVERYDAY,
)
def search(
    query: Annotated[
        list[str],
        typer.Argument(
            metavar="QUERY...",
            help='Words, "phrases", -excluded, OR, ( ), and fields: from: to: subject: in: label: has: filename:'
            " before: after: and more (docs/searching.md).",
        ),
    ],
    archive: ArchiveOption = None,
    mode: Annotated[
        Literal["hybrid", "vector", "text"],
        typer.Option(
            metavar="hybrid|vector|text", help="hybrid: by words and by meaning. vector: by meaning. text: by words."
        ),
    ] = "hybrid",
    number: Annotated[
        int, typer.Option("--number", "-n", metavar="N", parser=whole(1, 10_000), help="How many results.")
    ] = 10,
    json: JsonOption = False,
) -> None:
    """Find messages by meaning, by words, or both."""
    from vaultembed.cli import searching

    searching.run(" ".join(query), archive, mode, number, as_json=json)


@command(app, "show", "vaultembed show 17", "vaultembed show 17 --raw > letter.eml", group=EVERYDAY)
def show(
    message_id: Annotated[int, typer.Argument(metavar="ID", parser=whole(1), help="As search shows it.")],
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
        showing.run(message_id, archive, as_json=json)


@command(app, "stats", "vaultembed stats", "vaultembed stats --json", group=EVERYDAY)
def stats(archive: ArchiveOption = None, json: JsonOption = False) -> None:
    """Show what the archive holds."""
    from vaultembed.cli import statistics

    statistics.run(archive, as_json=json)


@command(app, "demo", "vaultembed demo", "vaultembed demo --keep demo.db", group=EVERYDAY)
def demo(
    keep: Annotated[
        OptionalPath,
        typer.Option(metavar="FILE", help="Keep the demo's archive in this new file, to try things on."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Import, embed and search a small invented mailbox, explaining each step. Fetches the model if it is not here."""
    from vaultembed.cli import demo as demo_command

    demo_command.run(keep, as_json=json)


@command(
    app,
    "help",
    "vaultembed help search",
    "vaultembed help embeddings build",
    group=EVERYDAY,
)
def help_command(
    context: typer.Context,
    names: Annotated[Texts, typer.Argument(metavar="COMMAND...", help="None: the list of all commands.")] = None,
) -> None:
    """Show the help of a command, as --help does."""
    show_page(context, names or [])


@command(
    app,
    "delete",
    "vaultembed delete 17 18",
    "vaultembed delete --dry-run 'from:shop before:2010 -invoice'",
    "vaultembed delete --forever --deleted",
    group=MESSAGES,
)
def delete(
    what: Annotated[
        Texts,
        typer.Argument(metavar="QUERY|ID...", help="Ids, or a query as for search, of which every word must occur."),
    ] = None,
    archive: ArchiveOption = None,
    query: Annotated[bool, typer.Option("--query", help="It is a query, even if it looks like ids.")] = False,
    forever: Annotated[bool, typer.Option("--forever", help="So that they cannot be brought back.")] = False,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Among messages deleted before; without a query all. With --forever.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    number: Annotated[
        int, typer.Option("--number", "-n", metavar="N", parser=whole(1), help="How many to list before asking.")
    ] = 5,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Delete messages from the archive; the mail they were imported from is not touched. They can be brought back."""
    from vaultembed.cli import deletion

    request = deletion.DeleteRequest(
        arguments=what or [],
        as_query=query,
        forever=forever,
        among_deleted=deleted,
        dry_run=dry_run,
        shown=number,
        yes=yes,
    )
    deletion.run_delete(archive, request, as_json=json)


@command(
    app, "undelete", "vaultembed undelete", "vaultembed undelete 17 18", "vaultembed undelete --all", group=MESSAGES
)
def undelete(
    ids: Annotated[
        Numbers, typer.Argument(metavar="ID...", parser=whole(1), help="None: list the deleted messages.")
    ] = None,
    archive: ArchiveOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    number: Annotated[
        int, typer.Option("--number", "-n", metavar="N", parser=whole(1), help="How many to list.")
    ] = 100,
    json: JsonOption = False,
) -> None:
    """Bring deleted messages back, or list them."""
    from vaultembed.cli import deletion

    deletion.run_undelete(ids or [], archive, number, everything=everything, as_json=json)


@command(app, "problems", "vaultembed problems", "vaultembed problems --kind unknown-charset -n 20", group=MESSAGES)
def problems(
    archive: ArchiveOption = None,
    kind: Annotated[OptionalText, typer.Option(metavar="KIND", help="Only of this kind.")] = None,
    number: Annotated[int, typer.Option("--number", "-n", metavar="N", parser=whole(1), help="How many.")] = 100,
    json: JsonOption = False,
) -> None:
    """List what could not be read as it should, and where."""
    from vaultembed.cli import showing

    showing.run_problems(archive, kind, number, as_json=json)


@command(
    app,
    "repair-encoding",
    "vaultembed repair-encoding --dry-run",
    "vaultembed repair-encoding --only subject --only body",
    "vaultembed repair-encoding --undo 1",
    group=MESSAGES,
)
def repair_encoding(
    archive: ArchiveOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be changed.")] = False,
    source: Annotated[
        Texts,
        typer.Option(metavar="PATH", help="Only messages of this source: its path, or the end of it. May be repeated."),
    ] = None,
    ids: Annotated[OptionalText, typer.Option(metavar="ID,ID,...", help="Only these messages: 17,18,23.")] = None,
    limit: Annotated[
        OptionalNumber, typer.Option(metavar="N", parser=whole(1), help="Stop after N repaired messages.")
    ] = None,
    only: Annotated[
        Texts,
        typer.Option(
            metavar="FIELD",
            help="Only this field: subject, body, snippet, name, label, file, conversation. May be repeated.",
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also repair what was undone before.")] = False,
    undo: Annotated[
        OptionalNumber, typer.Option(metavar="RUN", parser=whole(1), help="Put back what a run has changed.")
    ] = None,
    runs: Annotated[bool, typer.Option("--runs", help="List the runs so far.")] = False,
    json: JsonOption = False,
) -> None:
    """Find text that was stored wrongly (garbled letters, undecoded headers) and repair it. Each run can be undone."""
    from vaultembed.cli import repairing
    from vaultembed.cli.output import reported_errors
    from vaultembed.service.repairing import RepairRequest

    if runs:
        repairing.run_list(archive, as_json=json)
    if undo is not None:
        repairing.run_undo(archive, undo, as_json=json)
    with reported_errors("repair-encoding", as_json=json):
        request = RepairRequest(
            dry_run=dry_run,
            sources=tuple(source or ()),
            ids=repairing.ids_of(ids),
            limit=limit,
            only=repairing.fields_of(only or []),
            again=again,
            keep=None if json else repairing.SHOWN,
        )
    repairing.run(archive, request, as_json=json)


@command(
    app,
    "backup",
    "vaultembed backup /media/disk/mail.db",
    "vaultembed backup --overwrite /media/disk/mail.db",
    group=ARCHIVE,
)
def backup(
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="The new file.")],
    archive: ArchiveOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace DEST if it exists.")] = False,
    json: JsonOption = False,
) -> None:
    """Copy the archive to a file, and check the copy. Works at any time, also while mail is imported or embedded."""
    from vaultembed.cli import backup as backup_command

    backup_command.run_backup(destination, archive, overwrite=overwrite, as_json=json)


@command(
    app,
    "restore",
    "vaultembed restore --check /media/disk/mail.db",
    "vaultembed restore /media/disk/mail.db",
    group=ARCHIVE,
)
def restore(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A backup.")],
    archive: ArchiveOption = None,
    check: Annotated[bool, typer.Option("--check", help="Only say whether SRC is whole, and what it holds.")] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Make the archive a copy of a backup. An archive that is there is moved aside, never deleted."""
    from vaultembed.cli import backup as backup_command

    if check:
        backup_command.run_check(source, as_json=json)
    else:
        backup_command.run_restore(source, archive, yes=yes, as_json=json)


@command(app, "doctor", "vaultembed doctor", "vaultembed doctor --fix", group=ARCHIVE)
def doctor(
    archive: ArchiveOption = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair what can be made again from what is sound. Never deletes a message.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Count and check everything from scratch: structure, counters, vectors, indexes. Changes nothing by itself."""
    from vaultembed.cli import doctor as doctor_command

    doctor_command.run(archive, fix=fix, as_json=json)


@command(app, "migrate", "vaultembed migrate", "vaultembed migrate --archive old.db --yes", group=ARCHIVE)
def migrate(
    to: Annotated[
        OptionalNumber,
        typer.Option("--to", metavar="VERSION", parser=whole(0), help="Of the schema. Default: the latest."),
    ] = None,
    archive: ArchiveOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before going down.")] = False,
    json: JsonOption = False,
) -> None:
    """Bring the archive to the schema of this vaultembed, or of an older one; a backup is made first."""
    from vaultembed.cli import backup as backup_command

    backup_command.run_migrate(to, archive, yes=yes, as_json=json)


@command(
    app,
    "mcp",
    "vaultembed mcp --install claude-desktop",
    "vaultembed mcp --install vscode --write",
    "vaultembed mcp --http --port 8737",
    group=PROGRAMS,
)
def mcp(
    archive: ArchiveOption = None,
    only: Annotated[
        OptionalText,
        typer.Option(metavar="QUERY", help="Nothing else is there for the assistant: 'label:work -from:bank'."),
    ] = None,
    http: Annotated[bool, typer.Option("--http", help="Over HTTP instead of standard input and output.")] = False,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="With --http: the address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", parser=whole(0, 65_535), help="With --http. 0: any that is free.")
    ] = 8737,
    remote: Annotated[
        bool, typer.Option("--remote", help="With --http: let other machines ask, too. Needs --token-file.")
    ] = False,
    token_file: Annotated[
        OptionalPath,
        typer.Option(metavar="FILE", help="With --http: clients must give the token in this file, of mode 0600."),
    ] = None,
    allow_host: Annotated[
        Texts, typer.Option(metavar="NAME", help="With --http: another name by which clients call this machine.")
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", parser=decimal(1, 3600), help="How long one call may take. Default: 50."),
    ] = None,
    install: Annotated[
        Literal["claude-desktop", "claude-code", "cursor", "vscode"] | None,
        typer.Option(
            metavar="CLIENT",
            help="Show how this client is told of the archive, and exit: claude-desktop, claude-code, cursor, vscode.",
        ),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="With --install: write it to the client's configuration; a copy is kept.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Let an assistant (any MCP client) search the archive and read mail. It can change nothing."""
    from vaultembed.cli import serving

    if install is not None:
        serving.run_install(install, archive, only, write=write, as_json=json)
    if write or json:
        raise typer.BadParameter("--write and --json go with --install")
    if http:
        serving.run_http(
            archive, only, serving.HttpOptions(host, port, remote, token_file, tuple(allow_host or ()), time_limit)
        )
    if remote or token_file or allow_host:
        raise typer.BadParameter("--remote, --token-file and --allow-host go with --http")
    serving.run_stdio(archive, only, time_limit)


def command_tree() -> Any:
    """The commands as they are parsed: for what walks them."""
    return typer.main.get_command(app)
