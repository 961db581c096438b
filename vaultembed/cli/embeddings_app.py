"""`vaultembed embeddings …` and the options of its commands."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from vaultembed.cli.options import LARGEST, ArchiveOption, JsonOption, ModelOption, OptionalText, YesOption, above

embeddings_app = typer.Typer(
    help="Generations of embeddings: what is covered, and building them.", rich_markup_mode=None
)

GenerationOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Argument(metavar="[ID]", min=1, max=LARGEST, help="Default: the one being built, else the active one."),
]
GenerationArgument = Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST, help="Of a generation.")]
MaxFailedOption = Annotated[
    int, typer.Option(min=0, max=LARGEST, help="So many failed messages still count as complete.")
]


@embeddings_app.callback()
def embeddings(context: typer.Context, archive: ArchiveOption = None, json: JsonOption = False) -> None:
    """Show generations, what each covers, who is working on them, and what to do next."""
    if context.invoked_subcommand is None:
        from vaultembed.cli import generations

        generations.run_status(archive, False, json)


@embeddings_app.command("list")
def embeddings_list(context: typer.Context, archive: ArchiveOption = None, json: JsonOption = False) -> None:
    """List all generations there ever were, discarded and pruned ones included."""
    from vaultembed.cli import generations

    generations.run_status(archive or above(context, "archive"), True, json or above(context, "json"))


@embeddings_app.command("build")
def embeddings_build(
    context: typer.Context,
    archive: ArchiveOption = None,
    model: ModelOption = None,
    document_prefix: Annotated[
        OptionalText, typer.Option(help="Put before each text, for a model given by path.")
    ] = None,
    query_prefix: Annotated[
        OptionalText, typer.Option(help="Put before each query, for a model given by path.")
    ] = None,
    chunk_tokens: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, max=LARGEST, help="Tokens of a chunk at most. Another size is another generation."),
    ] = None,
    after: Annotated[
        OptionalText,
        typer.Option(help="Cover only mail of this day (month, year) or later. Another scope is another generation."),
    ] = None,
    before: Annotated[OptionalText, typer.Option(help="Cover only mail from before this day.")] = None,
    source: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(help="Cover only mail of this imported path. May be repeated."),
    ] = None,
    message_type: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--type", help="Cover only messages of this type, such as email. May be repeated."),
    ] = None,
    everything: Annotated[
        bool, typer.Option(help="Cover every message, where the generation there is has a scope.")
    ] = False,
    new: Annotated[bool, typer.Option(help="Embed everything anew, beside what there is.")] = False,
    hold: Annotated[bool, typer.Option(help="Do not put a complete generation to use.")] = False,
    max_failed: MaxFailedOption = 10,
    retry_failed: Annotated[bool, typer.Option(help="Try failed messages again.")] = False,
    backstop: Annotated[bool, typer.Option(help="Look at every message, also those that count as done.")] = False,
    backstop_hours: Annotated[
        float,
        typer.Option(
            min=0, envvar="VAULTEMBED_BACKSTOP_HOURS", help="Do so by itself after so many hours; 0 is never."
        ),
    ] = 24.0,
    limit: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, max=LARGEST, help="Embed so many messages, then pause."),
    ] = None,
    max_time: Annotated[OptionalText, typer.Option(help="Pause after this time: 90s, 15m, 2h.")] = None,
    rate_limit: Annotated[
        OptionalText, typer.Option(help="Messages a second at most, to leave the machine to others: 10 or 10/s.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the work.")] = 1,
    json: JsonOption = False,
) -> None:
    """Embed what is not embedded yet. May be stopped at any time; run again, it goes on.

    With another --model, --chunk-tokens or scope, a new generation is built beside the one in use, which goes on
    serving until the new one is complete and verified.
    """
    from vaultembed.cli import embedding
    from vaultembed.cli.output import told_errors
    from vaultembed.embeddings.build import Options
    from vaultembed.embeddings.worker import Limits
    from vaultembed.service.embedding import BuildRequest, ScopeRequest

    as_json = json or above(context, "json")
    with told_errors("embeddings build", as_json):
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
                retry_failed=retry_failed,
                backstop=backstop,
                backstop_hours=backstop_hours,
                limits=Limits(limit, embedding.per_second(rate_limit)),
            ),
            max_seconds=embedding.seconds_of(max_time),
            workers=workers,
        )
    embedding.run_build(archive or above(context, "archive"), request, as_json)


@embeddings_app.command("failures")
def embeddings_failures(
    context: typer.Context,
    generation: GenerationOption = None,
    archive: ArchiveOption = None,
    json: JsonOption = False,
) -> None:
    """List the messages that could not be embedded, and why."""
    from vaultembed.cli import generations

    generations.run_failures(archive or above(context, "archive"), generation, json or above(context, "json"))


@embeddings_app.command("verify")
def embeddings_verify(
    context: typer.Context,
    generation: GenerationOption = None,
    archive: ArchiveOption = None,
    sample: Annotated[bool, typer.Option(help="Embed some chunks again and compare.")] = True,
    json: JsonOption = False,
) -> None:
    """Check a generation: every message covered, every vector whole, a sample embedded again."""
    from vaultembed.cli import generations

    generations.run_verify(archive or above(context, "archive"), generation, sample, json or above(context, "json"))


@embeddings_app.command("activate")
def embeddings_activate(
    context: typer.Context,
    generation: GenerationArgument,
    archive: ArchiveOption = None,
    max_failed: MaxFailedOption = 10,
    force: Annotated[bool, typer.Option(help="Also if messages are missing or too many failed.")] = False,
    json: JsonOption = False,
) -> None:
    """Let search use another generation. The one before is kept, and can be gone back to."""
    from vaultembed.cli import generations

    generations.run_activate(
        archive or above(context, "archive"), generation, max_failed, force, json or above(context, "json")
    )


@embeddings_app.command("rollback")
def embeddings_rollback(context: typer.Context, archive: ArchiveOption = None, json: JsonOption = False) -> None:
    """Go back to the generation that was active before. Nothing current is embedded again."""
    from vaultembed.cli import generations

    generations.run_rollback(archive or above(context, "archive"), json or above(context, "json"))


@embeddings_app.command("retire")
def embeddings_retire(
    context: typer.Context,
    generation: GenerationArgument,
    archive: ArchiveOption = None,
    force: Annotated[bool, typer.Option(help="Leave search without a generation.")] = False,
    json: JsonOption = False,
) -> None:
    """Take the active generation out of use, with none in its place."""
    from vaultembed.cli import generations

    generations.run_retire(archive or above(context, "archive"), generation, force, json or above(context, "json"))


@embeddings_app.command("discard")
def embeddings_discard(
    context: typer.Context,
    generation: Annotated[
        Optional[int],  # noqa: UP045
        typer.Argument(metavar="[ID]", min=1, max=LARGEST, help="Default: the one being built."),
    ] = None,
    archive: ArchiveOption = None,
    yes: YesOption = False,
    json: JsonOption = False,
) -> None:
    """Abandon the generation that is being built. The active one is as before."""
    from vaultembed.cli import generations

    generations.run_discard(archive or above(context, "archive"), generation, yes, json or above(context, "json"))


@embeddings_app.command("prune")
def embeddings_prune(
    context: typer.Context,
    generations: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Argument(metavar="ID...", min=1, max=LARGEST, help="Default: all that are retired or discarded."),
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
        dry_run,
        rewrite,
        yes,
        json or above(context, "json"),
    )
