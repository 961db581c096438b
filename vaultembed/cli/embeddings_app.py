"""`vaultembed embeddings …` and the options of its commands."""

from typing import Annotated

import typer

from vaultembed.cli.help import Group, command
from vaultembed.cli.options import (
    ArchiveOption,
    JsonOption,
    Numbers,
    OptionalNumber,
    OptionalText,
    Texts,
    YesOption,
    above,
    decimal,
    model_names,
    whole,
)

embeddings_app = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    epilog="vaultembed embeddings\nvaultembed embeddings build\nvaultembed embeddings verify",
)

WHICH = "Which messages, which model"
HOW_LONG = "How long and how fast"

ModelOption = Annotated[
    OptionalText,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        rich_help_panel=WHICH,
        autocompletion=model_names,
        help="Name of a known model, or path of a .gguf. Default: that of the archive.",
    ),
]
GenerationOption = Annotated[
    OptionalNumber,
    typer.Argument(metavar="[ID]", parser=whole(1), help="Default: the one being built, else the active one."),
]
GenerationArgument = Annotated[int, typer.Argument(metavar="ID", parser=whole(1), help="Of a generation.")]
MaxFailedOption = Annotated[
    int, typer.Option(metavar="N", parser=whole(0), help="Up to N failed messages still count as complete.")
]

AcceptWorseOption = Annotated[
    bool, typer.Option("--accept-worse", help="Use it also if it finds less than the generation in use.")
]


@embeddings_app.callback()
def embeddings(context: typer.Context, archive: ArchiveOption = None, json: JsonOption = False) -> None:
    """Show how much of the archive search by meaning covers; build and manage embeddings."""
    if context.invoked_subcommand is None:
        from vaultembed.cli import generations

        generations.run_status(archive, every=False, as_json=json)


@command(embeddings_app, "status", "vaultembed embeddings status", "vaultembed embeddings status --json")
def embeddings_status(context: typer.Context, archive: ArchiveOption = None, json: JsonOption = False) -> None:
    """Show the generations in use: what each covers, who is working on them, and what to do next."""
    from vaultembed.cli import generations

    generations.run_status(archive or above(context, "archive"), every=False, as_json=json or above(context, "json"))


@command(
    embeddings_app,
    "build",
    "vaultembed embeddings build",
    "vaultembed embeddings build --max-time 2h --workers 2",
    "vaultembed embeddings build --model ./bge-small.gguf --after 2015",
)
def embeddings_build(
    context: typer.Context,
    archive: ArchiveOption = None,
    model: ModelOption = None,
    document_prefix: Annotated[
        OptionalText,
        typer.Option(metavar="TEXT", rich_help_panel=WHICH, help="Put before each text, for a model given by path."),
    ] = None,
    query_prefix: Annotated[
        OptionalText,
        typer.Option(metavar="TEXT", rich_help_panel=WHICH, help="Put before each query, for a model given by path."),
    ] = None,
    chunk_tokens: Annotated[
        OptionalNumber,
        typer.Option(
            metavar="N",
            parser=whole(1),
            rich_help_panel=WHICH,
            help="Tokens of a chunk at most. Another size is another generation.",
        ),
    ] = None,
    after: Annotated[
        OptionalText,
        typer.Option(
            metavar="DATE",
            rich_help_panel=WHICH,
            help="Only mail of this day (2019-06-30), month or year, or later. Another scope is another generation.",
        ),
    ] = None,
    before: Annotated[
        OptionalText, typer.Option(metavar="DATE", rich_help_panel=WHICH, help="Only mail from before this day.")
    ] = None,
    source: Annotated[
        Texts,
        typer.Option(metavar="PATH", rich_help_panel=WHICH, help="Only mail of this imported path. May be repeated."),
    ] = None,
    message_type: Annotated[
        Texts,
        typer.Option(
            "--type",
            metavar="TYPE",
            rich_help_panel=WHICH,
            help="Only messages of this type, such as email. May be repeated.",
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option(
            "--everything",
            rich_help_panel=WHICH,
            help="Cover every message, where the generation there is has a scope.",
        ),
    ] = False,
    new: Annotated[
        bool, typer.Option("--new", rich_help_panel=WHICH, help="Embed everything anew, beside what there is.")
    ] = False,
    hold: Annotated[bool, typer.Option("--hold", help="Do not put a complete generation to use.")] = False,
    accept_worse: AcceptWorseOption = False,
    max_failed: MaxFailedOption = 10,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed messages again.")] = False,
    retry_partial: Annotated[
        bool, typer.Option("--retry-partial", help="Embed again what is embedded in part, if more of it would be now.")
    ] = False,
    backstop: Annotated[
        bool, typer.Option("--backstop", help="Look at every message, also those that count as done.")
    ] = False,
    backstop_hours: Annotated[
        float,
        typer.Option(
            metavar="N",
            parser=decimal(0),
            envvar="VAULTEMBED_BACKSTOP_HOURS",
            help="Do so automatically every N hours (0: never).",
        ),
    ] = 24.0,
    limit: Annotated[
        OptionalNumber,
        typer.Option(metavar="N", parser=whole(1), rich_help_panel=HOW_LONG, help="Stop after N messages."),
    ] = None,
    max_time: Annotated[
        OptionalText,
        typer.Option(metavar="DURATION", rich_help_panel=HOW_LONG, help="Stop after this time: 90s, 15m, 2h."),
    ] = None,
    rate_limit: Annotated[
        OptionalText,
        typer.Option(
            metavar="N",
            rich_help_panel=HOW_LONG,
            help="At most N messages a second, to leave the machine to others: 10 or 10/s.",
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(metavar="N", parser=whole(1, 64), rich_help_panel=HOW_LONG, help="Processes that share the work."),
    ] = 1,
    json: JsonOption = False,
) -> None:
    """Embed what is not embedded yet. May be stopped at any time; run again, it goes on.

    With another --model, --chunk-tokens or scope, a new generation is built beside the one in use, which goes on
    serving until the new one is complete and verified.
    """
    from vaultembed.cli import embedding
    from vaultembed.cli.output import reported_errors
    from vaultembed.service.embedding import BuildRequest, Limits, Options, ScopeRequest

    as_json = json or above(context, "json")
    with reported_errors("embeddings build", as_json=as_json):
        request = BuildRequest(
            model=model,
            document_prefix=document_prefix,
            query_prefix=query_prefix,
            chunk_tokens=chunk_tokens,
            scope=ScopeRequest(
                after=embedding.first_second("--after", after),
                before=embedding.first_second("--before", before),
                sources=tuple(source or ()),
                types=tuple(message_type or ()),
                everything=everything,
            ),
            new=new,
            options=Options(
                max_failed=max_failed,
                hold=hold,
                accept_worse=accept_worse,
                retry_failed=retry_failed,
                retry_partial=retry_partial,
                backstop=backstop,
                backstop_hours=backstop_hours,
                limits=Limits(limit, embedding.per_second(rate_limit)),
            ),
            max_seconds=embedding.seconds_of(max_time),
            workers=workers,
        )
    embedding.run_build(archive or above(context, "archive"), request, as_json=as_json)


@command(embeddings_app, "list", "vaultembed embeddings list", "vaultembed embeddings list --json")
def embeddings_list(context: typer.Context, archive: ArchiveOption = None, json: JsonOption = False) -> None:
    """List all generations there ever were, discarded and pruned ones included."""
    from vaultembed.cli import generations

    generations.run_status(archive or above(context, "archive"), every=True, as_json=json or above(context, "json"))


@command(embeddings_app, "runs", "vaultembed embeddings runs", "vaultembed embeddings runs 2 -n 50")
def embeddings_runs(
    context: typer.Context,
    generation: Annotated[
        OptionalNumber, typer.Argument(metavar="[ID]", parser=whole(1), help="Of a generation. Default: of all.")
    ] = None,
    number: Annotated[int, typer.Option("-n", metavar="N", parser=whole(1), help="The last N.")] = 20,
    archive: ArchiveOption = None,
    json: JsonOption = False,
) -> None:
    """List what builds did, the last first."""
    from vaultembed.cli import generations

    generations.run_runs(
        archive or above(context, "archive"), generation, number, as_json=json or above(context, "json")
    )


@command(embeddings_app, "failures", "vaultembed embeddings failures", "vaultembed embeddings failures 2 --json")
def embeddings_failures(
    context: typer.Context,
    generation: GenerationOption = None,
    archive: ArchiveOption = None,
    json: JsonOption = False,
) -> None:
    """List the messages that could not be embedded, and why."""
    from vaultembed.cli import generations

    generations.run_failures(archive or above(context, "archive"), generation, as_json=json or above(context, "json"))


@command(embeddings_app, "verify", "vaultembed embeddings verify", "vaultembed embeddings verify 2 --no-sample")
def embeddings_verify(
    context: typer.Context,
    generation: GenerationOption = None,
    archive: ArchiveOption = None,
    no_sample: Annotated[bool, typer.Option("--no-sample", help="Do not embed some chunks again to compare.")] = False,
    json: JsonOption = False,
) -> None:
    """Check a generation: every message covered, every vector whole, a sample embedded again."""
    from vaultembed.cli import generations

    generations.run_verify(
        archive or above(context, "archive"),
        generation,
        sample=not no_sample,
        as_json=json or above(context, "json"),
    )


@command(embeddings_app, "activate", "vaultembed embeddings activate 2", "vaultembed embeddings activate 2 --force")
def embeddings_activate(
    context: typer.Context,
    generation: GenerationArgument,
    archive: ArchiveOption = None,
    max_failed: MaxFailedOption = 10,
    accept_worse: AcceptWorseOption = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also if messages are missing, too many failed, or it does not pass verification."
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Let search use another generation, verified first if need be. The one before is kept, and can be gone back to."""
    from vaultembed.cli import generations

    generations.run_activate(
        archive or above(context, "archive"),
        generation,
        max_failed,
        force=force,
        accept_worse=accept_worse,
        as_json=json or above(context, "json"),
    )


@command(embeddings_app, "rollback", "vaultembed embeddings rollback", "vaultembed embeddings rollback --json")
def embeddings_rollback(context: typer.Context, archive: ArchiveOption = None, json: JsonOption = False) -> None:
    """Go back to the generation that was active before. Nothing current is embedded again."""
    from vaultembed.cli import generations

    generations.run_rollback(archive or above(context, "archive"), as_json=json or above(context, "json"))


@command(embeddings_app, "retire", "vaultembed embeddings retire 1", "vaultembed embeddings retire 1 --force")
def embeddings_retire(
    context: typer.Context,
    generation: GenerationArgument,
    archive: ArchiveOption = None,
    force: Annotated[bool, typer.Option("--force", help="Leave search without a generation.")] = False,
    json: JsonOption = False,
) -> None:
    """Take the active generation out of use, with none in its place."""
    from vaultembed.cli import generations

    generations.run_retire(
        archive or above(context, "archive"), generation, force=force, as_json=json or above(context, "json")
    )


@command(embeddings_app, "discard", "vaultembed embeddings discard", "vaultembed embeddings discard 2 --yes")
def embeddings_discard(
    context: typer.Context,
    generation: Annotated[
        OptionalNumber, typer.Argument(metavar="[ID]", parser=whole(1), help="Default: the one being built.")
    ] = None,
    archive: ArchiveOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Abandon the generation that is being built. The active one is as before."""
    from vaultembed.cli import generations

    generations.run_discard(
        archive or above(context, "archive"), generation, yes=yes, as_json=json or above(context, "json")
    )


@command(
    embeddings_app,
    "prune",
    "vaultembed embeddings prune --dry-run",
    "vaultembed embeddings prune 1 --yes",
    "vaultembed embeddings prune --rewrite",
)
def embeddings_prune(
    context: typer.Context,
    generations: Annotated[
        Numbers,
        typer.Argument(metavar="ID...", parser=whole(1), help="Default: all that are retired or discarded."),
    ] = None,
    archive: ArchiveOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    rewrite: Annotated[
        bool, typer.Option("--rewrite", help="Write the file anew, so that nothing deleted is left in its free parts.")
    ] = False,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Remove generations out of use and vectors of deleted messages, and give the space back to the disk."""
    from vaultembed.cli import pruning

    pruning.run(
        generations or [],
        archive or above(context, "archive"),
        dry_run=dry_run,
        rewrite=rewrite,
        yes=yes,
        as_json=json or above(context, "json"),
    )
