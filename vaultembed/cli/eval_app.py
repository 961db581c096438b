"""`vaultembed eval …` and the options of its commands."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from vaultembed.cli.help import Group, command
from vaultembed.cli.options import ArchiveOption, JsonOption, OptionalText, whole

eval_app = typer.Typer(
    cls=Group,
    rich_markup_mode=None,
    no_args_is_help=True,
    epilog="vaultembed eval run questions.tsv\nvaultembed eval compare 1 3",
)

SetArgument = Annotated[
    Path, typer.Argument(metavar="SET", help="A folder in BEIR layout, or a file of questions: id, tab, question.")
]


@eval_app.callback()
def evaluate() -> None:
    """Measure how well searches find what they should, on questions whose answers are known."""


@command(
    eval_app,
    "run",
    "vaultembed eval run questions.tsv",
    "vaultembed eval run --mode hybrid --setting 'before the change' ~/sets/mine",
)
def eval_run(
    judged: SetArgument,
    archive: ArchiveOption = None,
    mode: Annotated[
        Literal["text", "vector", "hybrid", "all"],
        typer.Option(metavar="text|vector|hybrid|all", help="As for search. all: a run for each of the three."),
    ] = "all",
    split: Annotated[
        OptionalText, typer.Option(metavar="NAME", help="Which judgements: qrels/NAME.tsv. Default: test.")
    ] = None,
    setting: Annotated[str, typer.Option(metavar="TEXT", help="What is being tried, to know the run by.")] = "",
    json: JsonOption = False,
) -> None:
    """Ask all queries of a judged set, and keep how they were answered. The archive itself is not changed."""
    from vaultembed.cli import evaluating

    evaluating.run_eval(judged, archive, mode, split, setting, as_json=json)


@command(eval_app, "list", "vaultembed eval list", "vaultembed eval list --json")
def eval_list(archive: ArchiveOption = None, json: JsonOption = False) -> None:
    """List the runs so far."""
    from vaultembed.cli import evaluating

    evaluating.run_list(archive, as_json=json)


@command(eval_app, "show", "vaultembed eval show 3", "vaultembed eval show 3 --queries")
def eval_show(
    run: Annotated[int, typer.Argument(metavar="RUN", parser=whole(1), help="As eval list shows it.")],
    archive: ArchiveOption = None,
    queries: Annotated[
        bool, typer.Option("--queries", help="Also how each query was answered, the worst first.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show a run: all queries, by source, language and length."""
    from vaultembed.cli import evaluating

    evaluating.run_show(run, archive, each_query=queries, as_json=json)


@command(eval_app, "compare", "vaultembed eval compare 1 3", "vaultembed eval compare --json 1 3")
def eval_compare(
    first: Annotated[int, typer.Argument(metavar="BEFORE", parser=whole(1), help="A run, as eval list shows it.")],
    second: Annotated[int, typer.Argument(metavar="AFTER", parser=whole(1), help="A later run of the same set.")],
    archive: ArchiveOption = None,
    json: JsonOption = False,
) -> None:
    """Compare two runs of a set, and say what is more than luck."""
    from vaultembed.cli import evaluating

    evaluating.run_compare(first, second, archive, as_json=json)


@command(
    eval_app,
    "corpus",
    "vaultembed eval corpus ~/sets/scifact scifact.mbox",
    "vaultembed eval corpus --json ~/sets/scifact scifact.mbox",
)
def eval_corpus(
    judged: SetArgument,
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="The new mbox.")],
    json: JsonOption = False,
) -> None:
    """Write the documents of a set that brings its own as an mbox, to be imported into an archive of its own."""
    from vaultembed.cli import evaluating

    evaluating.run_corpus(judged, destination, as_json=json)
