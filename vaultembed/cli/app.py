"""The commands and their options. What they do is in the modules of this package, each loaded when its command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from vaultembed import __version__

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
embeddings_app = typer.Typer(
    help="Generations of embeddings: what is covered, and building them.", rich_markup_mode=None
)
models_app = typer.Typer(help="Embedding models: which there are, fetching, facts.", rich_markup_mode=None)
app.add_typer(embeddings_app, name="embeddings", invoke_without_command=True)
app.add_typer(models_app, name="models", invoke_without_command=True)

ArchiveOption = Annotated[
    Optional[Path],  # noqa: UP045 (typer reads it at run time)
    typer.Option(
        "--archive", "-a", help="The archive file. Default: $VAULTEMBED_ARCHIVE, else the user's data folder."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ModelOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--model", "-m", help="Name of a known model, or path of a .gguf. Default: that of the archive."),
]
LARGEST = 2**63 - 1  # of SQLite
PrefixOption = Optional[str]  # noqa: UP045


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
    paths: Annotated[list[Path], typer.Argument(help="mbox files, Maildirs, message files, or folders of these.")],
    archive: ArchiveOption = None,
    raw: Annotated[
        Literal["keep", "none"], typer.Option(help="keep: also keep each message as it was sent. none: do not.")
    ] = "keep",
    json: JsonOption = False,
) -> None:
    """Import mail. What is in the archive already is skipped; run it again whenever there is more."""
    from vaultembed.cli import importing

    importing.run(paths, archive, raw, json)


@app.command()
def search(
    query: Annotated[
        list[str],
        typer.Argument(
            help='Words, "phrases", and filters: from: to: subject: label: has:attachment before: after: (2019-06-30)'
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


@embeddings_app.callback()
def embeddings(context: typer.Context, archive: ArchiveOption = None, json: JsonOption = False) -> None:
    """Show generations, what each covers, and what to do next."""
    if context.invoked_subcommand is None:
        from vaultembed.cli import embedding

        embedding.run_status(archive, json)


@embeddings_app.command("build")
def embeddings_build(
    context: typer.Context,
    archive: ArchiveOption = None,
    model: ModelOption = None,
    document_prefix: Annotated[
        PrefixOption, typer.Option(help="Put before each text, for a model given by path.")
    ] = None,
    query_prefix: Annotated[
        PrefixOption, typer.Option(help="Put before each query, for a model given by path.")
    ] = None,
    max_failed: Annotated[
        int, typer.Option(min=0, max=LARGEST, help="So many failed messages still count as complete.")
    ] = 10,
    json: JsonOption = False,
) -> None:
    """Embed what is not embedded yet. May be stopped at any time; run again, it goes on."""
    from vaultembed.cli import embedding

    above = context.parent.params if context.parent else {}
    embedding.run_build(
        archive or above.get("archive"),
        model,
        document_prefix,
        query_prefix,
        max_failed,
        json or bool(above.get("json")),
    )


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
